package io.moe4j.cli;

import io.moe4j.DType;
import io.moe4j.HiddenStates;
import io.moe4j.MoeCall;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeOutput;
import io.moe4j.OwnedTensor;
import io.moe4j.Routing;
import io.moe4j.Stream;
import io.moe4j.Tactic;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import io.moe4j.Workspace;
import io.moe4j.autotune.profile.CallKind;
import java.util.Optional;

/**
 * One input bound to a {@link PreparedBlock}: its tensors on the device, to be run any number of
 * times. Owns tensors and workspaces; one thread at a time.
 */
final class BlockRun implements AutoCloseable {
  private final Owner owner;
  private final PreparedBlock block;
  private final MoeDevice device;
  private final long tokens;
  private final Tensor hiddenStates;
  private final Tensor routerInput;
  private final Tensor output;
  private final Tensor topkIds;
  private final Tensor topkWeights;
  private final Optional<Tensor> logits;
  private final Optional<MoeCall> sharedCall;
  private final MoeCall call;
  private final Workspace workspace;
  private final Optional<Workspace> sharedWorkspace;

  private BlockRun(Owner owner, PreparedBlock block, BlockInput input, DType outputDtype) {
    MoeLayer routed = block.routed();
    this.owner = owner;
    this.block = block;
    this.device = routed.device();
    this.tokens = input.tokens();
    long hiddenSize = routed.spec().hiddenSize();
    long topK = routed.spec().topK();
    this.hiddenStates = upload(input.hiddenStates());
    this.routerInput =
        input.routing().isPresent() || input.routerInput().spec().dtype() == DType.BF16
            ? hiddenStates
            : upload(input.routerInput());
    this.output = allocate(outputDtype, tokens, hiddenSize);
    this.topkIds = allocate(DType.I32, tokens, topK);
    this.topkWeights = allocate(DType.F32, tokens, topK);
    this.logits =
        input.routing().isPresent()
            ? Optional.empty()
            : Optional.of(allocate(DType.F32, tokens, routed.spec().numExperts()));
    Optional<Tensor> addend = block.shared().map(layer -> allocate(DType.F32, tokens, hiddenSize));
    this.sharedCall = addend.map(this::sharedCall);
    this.call =
        MoeCall.of(
                routing(input),
                HiddenStates.bf16(hiddenStates),
                new MoeOutput.Finalized(output, addend))
            .withTopk(topkIds, topkWeights);
    this.workspace = workspace(routed);
    this.sharedWorkspace = block.shared().map(this::workspace);
  }

  /** Binds an input that was read for the block's spec, to be closed by the caller. */
  static BlockRun bind(PreparedBlock block, BlockInput input, DType outputDtype) {
    Owner owner = new Owner();
    try {
      return new BlockRun(owner, block, input, outputDtype);
    } catch (RuntimeException | Error e) {
      owner.close();
      throw e;
    }
  }

  private Routing routing(BlockInput input) {
    if (input.routing().isEmpty()) {
      return new Routing.FromLogits(logits.get(), block.selectionBias());
    }
    if (input.routing().get() instanceof BlockInput.Logits given) {
      return new Routing.FromLogits(upload(given.logits()), block.selectionBias());
    }
    BlockInput.Precomputed given = (BlockInput.Precomputed) input.routing().get();
    return new Routing.Unpacked(upload(given.ids()), upload(given.weights()));
  }

  /** Every token goes to the one expert, with weight 1. */
  private MoeCall sharedCall(Tensor addend) {
    HostTensor ids = HostTensor.zeros(TensorSpec.of(DType.I32, tokens, 1));
    HostTensor weights = HostTensor.zeros(TensorSpec.of(DType.F32, tokens, 1));
    for (int t = 0; t < tokens; t++) {
      weights.bytes().putFloat(4 * t, 1f);
    }
    return MoeCall.of(
        new Routing.Unpacked(upload(ids), upload(weights)),
        HiddenStates.bf16(hiddenStates),
        new MoeOutput.Finalized(addend));
  }

  private Workspace workspace(MoeLayer layer) {
    Workspace made = layer.newWorkspace(tokens);
    return owner.own(made, made::close);
  }

  private Tensor upload(HostTensor host) {
    OwnedTensor tensor = host.upload(device);
    return owner.own(tensor, tensor::close);
  }

  private Tensor allocate(DType dtype, long rows, long columns) {
    OwnedTensor tensor = device.allocate(TensorSpec.of(dtype, rows, columns));
    return owner.own(tensor, tensor::close);
  }

  /** T. */
  long tokens() {
    return tokens;
  }

  /** What kind of call the routed experts get. */
  CallKind kind() {
    return CallKind.of(call);
  }

  /** The tactic that the routed experts' selector chooses. */
  Tactic selectedTactic() {
    return block.routed().tactic(call);
  }

  /** Runs the whole block, its routed experts with a given tactic. */
  void run(Tactic tactic) {
    logits.ifPresent(l -> block.router().logits(routerInput, l, Stream.DEFAULT));
    sharedCall.ifPresent(
        shared -> block.shared().get().run(shared, sharedWorkspace.get(), Stream.DEFAULT));
    runRouted(tactic);
  }

  /** Runs the routed experts again, on the logits and shared experts' output of the last run. */
  void runRouted(Tactic tactic) {
    block.routed().run(call, tactic, workspace, Stream.DEFAULT);
    device.synchronize(Stream.DEFAULT);
  }

  /** The block's output [T, H]. */
  HostTensor output() {
    return HostTensor.download(output);
  }

  /** The chosen experts, I32 [T, k]. */
  HostTensor topkIds() {
    return HostTensor.download(topkIds);
  }

  /** Their weights, F32 [T, k]. */
  HostTensor topkWeights() {
    return HostTensor.download(topkWeights);
  }

  @Override
  public void close() {
    owner.close();
  }
}
