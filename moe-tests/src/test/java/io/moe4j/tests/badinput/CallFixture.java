package io.moe4j.tests.badinput;

import io.moe4j.DType;
import io.moe4j.HiddenStates;
import io.moe4j.MoeCall;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeOutput;
import io.moe4j.MoeSpec;
import io.moe4j.OwnedTensor;
import io.moe4j.QuantFormat;
import io.moe4j.Routing;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import io.moe4j.Workspace;
import io.moe4j.tests.fixtures.Bytes;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestLayer;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * A good layer (H = 96, I = 32, 2 of 8 experts, NVFP4) and the parts of a good call of 4 tokens.
 */
final class CallFixture implements AutoCloseable {
  static final int TOKENS = 4;
  static final int HIDDEN = 96;
  static final int INTERMEDIATE = 32;
  static final int EXPERTS = 8;
  static final int TOP_K = 2;

  final TestLayer numbers = LayerDraw.PLAIN.experts(EXPERTS, TOP_K).layer();
  final MoeSpec spec = numbers.spec();
  final MoeDevice device = TestDevice.open();
  final MoeLayer layer = device.prepare(spec, numbers);
  final Workspace workspace = layer.newWorkspace(TOKENS);
  private final List<OwnedTensor> owned = new ArrayList<>();

  final Tensor x = zeros(DType.BF16, TOKENS, HIDDEN);
  final Tensor y = zeros(DType.BF16, TOKENS, HIDDEN);
  final Tensor ids = of(DType.I32, new double[] {0, 1, 2, 3, 4, 5, 6, 7}, TOKENS, TOP_K);
  final Tensor weights = zeros(DType.F32, TOKENS, TOP_K);
  final Tensor logits = zeros(DType.F32, TOKENS, EXPERTS);
  private final int parts = owned.size();

  Routing routing() {
    return new Routing.Unpacked(ids, weights);
  }

  HiddenStates hiddenStates() {
    return HiddenStates.bf16(x);
  }

  MoeOutput output() {
    return new MoeOutput.Finalized(y);
  }

  MoeCall call() {
    return MoeCall.of(routing(), hiddenStates(), output());
  }

  void run(MoeCall call) {
    layer.run(call, workspace);
  }

  void run(Routing routing) {
    run(MoeCall.of(routing, hiddenStates(), output()));
  }

  void run(HiddenStates hiddenStates) {
    run(MoeCall.of(routing(), hiddenStates, output()));
  }

  void run(MoeOutput output) {
    run(MoeCall.of(routing(), hiddenStates(), output));
  }

  void runIds(double... ids) {
    run(new Routing.Unpacked(of(DType.I32, ids, TOKENS, TOP_K), weights));
  }

  void runPacked(double... packed) {
    run(new Routing.Packed(of(DType.I32, packed, TOKENS, TOP_K)));
  }

  /** Logits that are 0 but for one. */
  void runLogits(DType dtype, int place, double value) {
    double[] values = new double[TOKENS * EXPERTS];
    values[place] = value;
    run(new Routing.FromLogits(of(dtype, values, TOKENS, EXPERTS)));
  }

  OwnedTensor zeros(DType dtype, long... shape) {
    TensorSpec wanted = TensorSpec.of(dtype, shape);
    return remember(device.upload(wanted, ByteBuffer.allocate((int) wanted.bytes())));
  }

  OwnedTensor of(DType dtype, double[] values, long... shape) {
    return remember(
        device.upload(TensorSpec.of(dtype, shape), ByteBuffer.wrap(Bytes.of(dtype, values))));
  }

  /** The fixture's spec, to be changed. */
  static MoeSpec.Builder specBuilder() {
    return MoeSpec.builder()
        .weightFormat(QuantFormat.NVFP4)
        .hiddenSize(HIDDEN)
        .intermediateSize(INTERMEDIATE)
        .numExperts(EXPERTS)
        .topK(TOP_K);
  }

  /** Closes the tensors that were made since the fixture was. */
  void closeMade() {
    owned.subList(parts, owned.size()).forEach(OwnedTensor::close);
  }

  private OwnedTensor remember(OwnedTensor tensor) {
    owned.add(tensor);
    return tensor;
  }

  @Override
  public void close() {
    owned.forEach(OwnedTensor::close);
    workspace.close();
    layer.close();
    device.close();
  }
}
