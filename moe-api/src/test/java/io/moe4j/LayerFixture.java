package io.moe4j;

import io.moe4j.testing.FakeDevice;
import io.moe4j.testing.FakeProvider;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** A small prepared layer on a fake device, with the tensors of a valid call. */
final class LayerFixture implements AutoCloseable {
  static final int T = 3;
  static final int H = 64;
  static final int I = 32;
  static final int E = 8;
  static final int K = 2;

  final FakeProvider provider;
  final MoeDevice device;
  final MoeSpec spec;
  final MoeLayer layer;
  final Workspace workspace;
  private final List<OwnedTensor> owned = new ArrayList<>();

  LayerFixture() {
    this(spec().build());
  }

  LayerFixture(MoeSpec spec) {
    this(spec, new FakeProvider());
  }

  LayerFixture(MoeSpec spec, FakeProvider provider) {
    this.provider = provider;
    this.device = provider.open();
    this.spec = spec;
    this.layer = device.prepare(spec, expert -> expert(spec));
    this.workspace = layer.newWorkspace(T);
  }

  /** NVFP4 weights, BF16 activations, DeepSeekV3 routing in two groups. */
  static MoeSpec.Builder spec() {
    return MoeSpec.builder()
        .hiddenSize(H)
        .intermediateSize(I)
        .numExperts(E)
        .topK(K)
        .routing(RoutingSpec.deepSeekV3(2, 1, 2.5f));
  }

  FakeDevice fake() {
    return provider.device();
  }

  /** An expert that fits a spec with NVFP4 weights. */
  static ExpertWeights expert(MoeSpec spec) {
    return ExpertWeights.gated(
        nvfp4(spec.intermediateSize(), spec.hiddenSize()),
        nvfp4(spec.intermediateSize(), spec.hiddenSize()),
        nvfp4(spec.hiddenSize(), spec.intermediateSize()));
  }

  static WeightMatrix nvfp4(int rows, int columns) {
    return WeightMatrix.quantized(
        QuantFormat.NVFP4,
        rows,
        columns,
        ByteBuffer.allocateDirect(rows * columns / 2),
        ByteBuffer.allocateDirect(rows * columns / 16),
        1f);
  }

  /** A tensor that the fixture closes. */
  OwnedTensor tensor(DType dtype, long... shape) {
    OwnedTensor tensor = device.allocate(TensorSpec.of(dtype, shape));
    owned.add(tensor);
    return tensor;
  }

  HiddenStates hiddenStates() {
    return HiddenStates.bf16(tensor(DType.BF16, T, H));
  }

  Routing logits() {
    return new Routing.FromLogits(tensor(DType.F32, T, E), Optional.of(tensor(DType.F32, E)));
  }

  Routing unpacked() {
    return new Routing.Unpacked(tensor(DType.I32, T, K), tensor(DType.F32, T, K));
  }

  MoeOutput output() {
    return new MoeOutput.Finalized(tensor(DType.BF16, T, H));
  }

  /** A valid call of this routing. */
  MoeCall call(Routing routing) {
    return MoeCall.of(routing, hiddenStates(), output());
  }

  /** A valid call. */
  MoeCall call() {
    return call(unpacked());
  }

  void run(MoeCall call) {
    layer.run(call, workspace);
  }

  @Override
  public void close() {
    for (OwnedTensor tensor : owned) {
      tensor.close();
    }
    workspace.close();
    layer.close();
    device.close();
  }
}
