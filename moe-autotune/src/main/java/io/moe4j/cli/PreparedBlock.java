package io.moe4j.cli;

import io.moe4j.DType;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeSpec;
import io.moe4j.OwnedTensor;
import io.moe4j.QuantFormat;
import io.moe4j.Router;
import io.moe4j.TacticSelector;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import io.moe4j.checkpoint.CheckpointExperts;
import io.moe4j.checkpoint.MoeCheckpointLayer;
import io.moe4j.checkpoint.RouterWeights;
import io.moe4j.checkpoint.StoredTensor;
import java.nio.ByteBuffer;
import java.util.Optional;

/**
 * A checkpoint's whole Mixture-of-Experts block on a device: router, routed experts and, as a layer
 * of their own, shared experts. Immutable; owns its layers and tensors.
 */
final class PreparedBlock implements AutoCloseable {
  private final Owner owner;
  private final Router router;
  private final Optional<Tensor> selectionBias;
  private final MoeLayer routed;
  private final Optional<MoeLayer> shared;

  private PreparedBlock(
      Owner owner,
      Router router,
      Optional<Tensor> selectionBias,
      MoeLayer routed,
      Optional<MoeLayer> shared) {
    this.owner = owner;
    this.router = router;
    this.selectionBias = selectionBias;
    this.routed = routed;
    this.shared = shared;
  }

  /**
   * Prepares a block, to be closed by the caller.
   *
   * @param activations format of the matrix multiplications' inputs; shared experts with BF16
   *     weights keep BF16
   * @param tactics chooses the tactic of each launch
   */
  static PreparedBlock prepare(
      MoeDevice device,
      MoeCheckpointLayer source,
      QuantFormat activations,
      TacticSelector.Source tactics) {
    Owner owner = new Owner();
    try {
      RouterWeights router = source.router();
      return new PreparedBlock(
          owner,
          new Router(
              upload(owner, device, router.weight()),
              router.bias().map(bias -> upload(owner, device, bias))),
          router.selectionBias().map(bias -> upload(owner, device, bias)),
          prepare(owner, device, source.routedExperts(), activations, tactics),
          source
              .sharedExperts()
              .map(
                  experts ->
                      prepare(
                          owner,
                          device,
                          experts,
                          // What a checkpoint leaves in BF16 is too sensitive to be quantized.
                          experts.weightFormat() == QuantFormat.BF16
                              ? QuantFormat.BF16
                              : activations,
                          tactics)));
    } catch (RuntimeException | Error e) {
      owner.close();
      throw e;
    }
  }

  private static Tensor upload(Owner owner, MoeDevice device, StoredTensor stored) {
    OwnedTensor tensor = new HostTensor(stored.spec(), stored.buffer()).upload(device);
    return owner.own(tensor, tensor::close);
  }

  private static Tensor upload(Owner owner, MoeDevice device, ByteBuffer floats) {
    TensorSpec spec = TensorSpec.of(DType.F32, floats.remaining() / DType.F32.bytes());
    OwnedTensor tensor = new HostTensor(spec, floats).upload(device);
    return owner.own(tensor, tensor::close);
  }

  private static MoeLayer prepare(
      Owner owner,
      MoeDevice device,
      CheckpointExperts experts,
      QuantFormat activations,
      TacticSelector.Source tactics) {
    MoeSpec spec = experts.spec(activations);
    MoeLayer layer = device.prepare(spec, experts.weights(spec), tactics);
    return owner.own(layer, layer::close);
  }

  /** Makes the logits of hidden states. */
  Router router() {
    return router;
  }

  /** F32 [E], takes part in the selection of some routing methods. */
  Optional<Tensor> selectionBias() {
    return selectionBias;
  }

  /** The layer of the routed experts. */
  MoeLayer routed() {
    return routed;
  }

  /** The shared experts: a layer with one expert. */
  Optional<MoeLayer> shared() {
    return shared;
  }

  /** Frees layers and tensors; no run of them may be open. */
  @Override
  public void close() {
    owner.close();
  }
}
