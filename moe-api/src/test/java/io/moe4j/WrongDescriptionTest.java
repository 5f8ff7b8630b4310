package io.moe4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Specs, weights, devices and operations on formats refuse what cannot be, by name. */
final class WrongDescriptionTest {

  /** One way to be wrong. */
  record Wrong(String what, String argument, Executable call) {
    @Override
    public String toString() {
      return what;
    }
  }

  private static Wrong wrong(String what, String argument, Executable call) {
    return new Wrong(what, argument, call);
  }

  private static Wrong spec(String what, String argument, Executable call) {
    return new Wrong("spec: " + what, argument, call);
  }

  static Stream<Wrong> descriptions() {
    return Stream.of(specs(), weights(), devices()).flatMap(wrong -> wrong);
  }

  private static Stream<Wrong> specs() {
    return Stream.of(
        spec("no sizes", "numExperts", () -> MoeSpec.builder().build()),
        spec("H = 0", "hiddenSize", () -> LayerFixture.spec().hiddenSize(0).build()),
        spec("H off the block", "hiddenSize", () -> LayerFixture.spec().hiddenSize(72).build()),
        spec(
            "H off the activations' block",
            "hiddenSize",
            () -> LayerFixture.spec().hiddenSize(48).activationFormat(QuantFormat.MXFP8).build()),
        spec("H too large", "hiddenSize", () -> LayerFixture.spec().hiddenSize(1 << 30).build()),
        spec(
            "I = -32", "intermediateSize", () -> LayerFixture.spec().intermediateSize(-32).build()),
        spec("E too large", "numExperts", () -> LayerFixture.spec().numExperts(1025).build()),
        spec("k > E", "topK", () -> LayerFixture.spec().topK(9).build()),
        spec("k = 0", "topK", () -> LayerFixture.spec().topK(0).build()),
        spec("k > kept experts", "topK", () -> LayerFixture.spec().topK(5).build()),
        spec(
            "Llama4 with k = 2",
            "topK",
            () -> LayerFixture.spec().routing(RoutingSpec.of(RoutingMethod.LLAMA4)).build()),
        spec(
            "groups that do not divide E",
            "numGroups",
            () -> LayerFixture.spec().routing(RoutingSpec.deepSeekV3(3, 1, 1f)).build()),
        spec(
            "groups without DeepSeekV3",
            "numGroups",
            () -> new RoutingSpec(RoutingMethod.DEFAULT, 2, 1, 1f, true)),
        spec("more kept groups than groups", "topkGroups", () -> RoutingSpec.deepSeekV3(2, 3, 1f)),
        spec(
            "factor of infinity",
            "scalingFactor",
            () -> RoutingSpec.deepSeekV3(1, 1, Float.POSITIVE_INFINITY)),
        spec(
            "factor that would be ignored",
            "scalingFactor",
            () -> new RoutingSpec(RoutingMethod.RENORMALIZE, 1, 1, 2.5f, true)),
        spec("null routing", "routing", () -> LayerFixture.spec().routing(null).build()),
        spec("null activation", "activation", () -> LayerFixture.spec().activation(null).build()),
        spec("null format", "weightFormat", () -> LayerFixture.spec().weightFormat(null).build()),
        spec(
            "MXFP8 weights",
            "weightFormat",
            () -> LayerFixture.spec().weightFormat(QuantFormat.MXFP8).build()),
        spec(
            "FP8_PER_TOKEN weights",
            "weightFormat",
            () -> LayerFixture.spec().weightFormat(QuantFormat.FP8_PER_TOKEN).build()),
        spec(
            "INT8 weights",
            "weightFormat",
            () -> LayerFixture.spec().weightFormat(QuantFormat.INT8).build()),
        spec(
            "INT8 activations with BF16 weights",
            "activationFormat",
            () ->
                LayerFixture.spec()
                    .weightFormat(QuantFormat.BF16)
                    .activationFormat(QuantFormat.INT8)
                    .build()),
        spec(
            "MXFP4 activations",
            "activationFormat",
            () -> LayerFixture.spec().activationFormat(QuantFormat.MXFP4).build()),
        spec(
            "slice past the experts",
            "expertParallel",
            () -> LayerFixture.spec().expertParallel(4, 5).build()),
        spec(
            "slice that overflows",
            "expertParallel",
            () -> LayerFixture.spec().expertParallel(Integer.MAX_VALUE, 1).build()),
        spec(
            "negative offset",
            "localExpertOffset",
            () -> LayerFixture.spec().expertParallel(-1, 1).build()),
        spec(
            "empty slice",
            "localNumExperts",
            () -> LayerFixture.spec().expertParallel(0, 0).build()),
        spec(
            "shared experts with a slice",
            "numFusedSharedExperts",
            () -> LayerFixture.spec().expertParallel(0, 4).numFusedSharedExperts(1).build()),
        spec("negative extent", "shape", () -> TensorSpec.of(DType.F32, 2, -1)),
        spec("shape of 2^64 bytes", "shape", () -> TensorSpec.of(DType.F32, 1L << 31, 1L << 31)));
  }

  private static Stream<Wrong> weights() {
    ByteBuffer codes = ByteBuffer.allocateDirect(64 * 32);
    ByteBuffer scales = ByteBuffer.allocateDirect(64 * 4);
    WeightMatrix matrix = WeightMatrix.quantized(QuantFormat.NVFP4, 64, 64, codes, scales, 1f);
    return Stream.of(
        wrong(
            "codes on the heap",
            "codes",
            () ->
                WeightMatrix.quantized(
                    QuantFormat.NVFP4, 64, 64, ByteBuffer.allocate(2048), scales, 1f)),
        wrong(
            "codes too few",
            "codes",
            () -> WeightMatrix.quantized(QuantFormat.NVFP4, 65, 64, codes, scales, 1f)),
        wrong(
            "scales too few",
            "scales",
            () ->
                WeightMatrix.quantized(
                    QuantFormat.NVFP4, 64, 64, codes, ByteBuffer.allocateDirect(255), 1f)),
        wrong(
            "row stride that overflows",
            "codes",
            () ->
                new WeightMatrix(
                    QuantFormat.NVFP4,
                    64,
                    64,
                    codes,
                    Long.MAX_VALUE / 4,
                    Optional.of(scales),
                    4,
                    1f,
                    Optional.empty())),
        wrong(
            "rows that overlap",
            "codes row stride",
            () ->
                new WeightMatrix(
                    QuantFormat.NVFP4,
                    64,
                    64,
                    codes,
                    16,
                    Optional.of(scales),
                    4,
                    1f,
                    Optional.empty())),
        wrong(
            "K off the block",
            "columns",
            () -> WeightMatrix.quantized(QuantFormat.MXFP4, 1, 48, codes, scales, 1f)),
        wrong(
            "no rows",
            "rows",
            () -> WeightMatrix.quantized(QuantFormat.NVFP4, 0, 64, codes, scales, 1f)),
        wrong(
            "tensor scale of NaN",
            "tensorScale",
            () -> WeightMatrix.quantized(QuantFormat.NVFP4, 64, 64, codes, scales, Float.NaN)),
        wrong(
            "null scales",
            "scales",
            () -> WeightMatrix.quantized(QuantFormat.NVFP4, 64, 64, codes, null, 1f)),
        wrong("null bias", "bias", () -> matrix.withBias(null)),
        wrong(
            "bias of I32",
            "bias.dtype",
            () -> new WeightMatrix.Bias(DType.I32, ByteBuffer.allocateDirect(256), 1)),
        wrong(
            "bias too short",
            "bias.values",
            () ->
                matrix.withBias(
                    new WeightMatrix.Bias(DType.F32, ByteBuffer.allocateDirect(255), 1))),
        wrong(
            "bias stride that overflows",
            "bias.values",
            () ->
                matrix.withBias(
                    new WeightMatrix.Bias(
                        DType.F32, ByteBuffer.allocateDirect(256), Long.MAX_VALUE / 2))),
        wrong("null up", "up", () -> ExpertWeights.gated(matrix, null, matrix)),
        wrong(
            "input scale of 0",
            "inputScale",
            () -> ExpertWeights.gated(matrix, matrix, matrix).withActivationScales(0f, 1f)),
        wrong(
            "limit of NaN",
            "limit",
            () -> ExpertWeights.gated(matrix, matrix, matrix).withActivation(1f, 0f, Float.NaN)),
        wrong(
            "alpha of infinity",
            "alpha",
            () ->
                ExpertWeights.gated(matrix, matrix, matrix)
                    .withActivation(Float.POSITIVE_INFINITY, 0f, 1f)),
        wrong(
            "expert without up",
            "experts[0].up",
            () ->
                prepare(
                    expert ->
                        ExpertWeights.ungated(
                            LayerFixture.nvfp4(32, 64), LayerFixture.nvfp4(64, 32)))),
        wrong(
            "down transposed",
            "experts[0].down",
            () ->
                prepare(
                    expert ->
                        ExpertWeights.gated(
                            LayerFixture.nvfp4(32, 64),
                            LayerFixture.nvfp4(32, 64),
                            LayerFixture.nvfp4(32, 64)))),
        wrong("null expert", "experts[0].weights", () -> prepare(expert -> null)),
        wrong("null weights", "weights", () -> prepare(null)));
  }

  private static void prepare(MoeWeights weights) throws Exception {
    try (LayerFixture f = new LayerFixture()) {
      long layers = f.device.counters().liveLayers();
      try {
        f.device.prepare(f.spec, weights).close();
      } finally {
        assertEquals(layers, f.device.counters().liveLayers(), "layers after a failure");
      }
    }
  }

  private static Stream<Wrong> devices() {
    return Stream.of(
        wrong("null device", "device", () -> MoeDevice.open(null)),
        wrong("device with a typo", "device", () -> MoeDevice.open("gpu:0")),
        wrong("device of no number", "device", () -> MoeDevice.open("cuda:-1")),
        wrong("null options", "options", () -> MoeDevice.open("cpu", null)),
        wrong("-1 threads", "threads", () -> DeviceOptions.DEFAULT.withThreads(-1)),
        wrong(
            "null instruction set",
            "maxInstructionSet",
            () -> DeviceOptions.DEFAULT.withMaxInstructionSet(null)),
        on("null spec", "spec", f -> f.device.allocate(null)),
        on("address 0", "address", f -> f.device.borrow(TensorSpec.of(DType.F32, 1), 0)),
        on("address -8", "address", f -> f.device.borrow(TensorSpec.of(DType.F32, 1), -8)),
        on("odd address", "address", f -> f.device.borrow(TensorSpec.of(DType.F32, 1), 4098)),
        on(
            "heap buffer",
            "direct",
            f -> f.device.borrow(TensorSpec.of(DType.F32, 1), ByteBuffer.allocate(4))),
        on(
            "short buffer",
            "direct",
            f -> f.device.borrow(TensorSpec.of(DType.F32, 2), ByteBuffer.allocateDirect(7))),
        on(
            "unaligned buffer",
            "direct",
            f ->
                f.device.borrow(
                    TensorSpec.of(DType.F32, 1), ByteBuffer.allocateDirect(8).slice(1, 4))),
        on(
            "copy of the wrong size",
            "source",
            f -> f.tensor(DType.F32, 2).copyFrom(ByteBuffer.allocate(4))),
        on("copy of null", "source", f -> f.tensor(DType.F32, 2).copyFrom(null)),
        on(
            "copy to a read-only buffer",
            "destination",
            f -> f.tensor(DType.F32, 1).copyTo(ByteBuffer.allocate(4).asReadOnlyBuffer())),
        on(
            "copy into a read-only tensor",
            "destination",
            f ->
                f.device
                    .borrow(
                        TensorSpec.of(DType.U8, 4), ByteBuffer.allocateDirect(4).asReadOnlyBuffer())
                    .copyFrom(ByteBuffer.allocate(4))),
        on("null stream", "stream", f -> f.device.synchronize(null)),
        on(
            "quantize to BF16",
            "format",
            f ->
                f.device
                    .blockFormats()
                    .quantize(QuantFormat.BF16, null, 1f, null, null, io.moe4j.Stream.DEFAULT)),
        on(
            "quantize I32",
            "source",
            f -> quantize(f, f.tensor(DType.I32, 2, 32), 1f, f.tensor(DType.E4M3, 2, 2))),
        on(
            "quantize K off the block",
            "source",
            f -> quantize(f, f.tensor(DType.F32, 2, 24), 1f, f.tensor(DType.E4M3, 2, 2))),
        on("quantize null", "source", f -> quantize(f, null, 1f, f.tensor(DType.E4M3, 2, 2))),
        on(
            "quantize with a scale of 0",
            "tensorScale",
            f -> quantize(f, f.tensor(DType.F32, 2, 32), 0f, f.tensor(DType.E4M3, 2, 2))),
        on(
            "quantize to UE8M0",
            "scales",
            f -> quantize(f, f.tensor(DType.F32, 2, 32), 1f, f.tensor(DType.UE8M0, 2, 2))),
        on(
            "dequantize into itself",
            "destination",
            f -> {
              Tensor floats = f.tensor(DType.F32, 2, 32);
              Tensor codes =
                  f.device.borrow(TensorSpec.of(DType.E2M1X2, 2, 16), floats.address() + 128);
              f.device
                  .blockFormats()
                  .dequantize(
                      QuantFormat.NVFP4,
                      codes,
                      f.tensor(DType.E4M3, 2, 2),
                      1f,
                      floats,
                      io.moe4j.Stream.DEFAULT);
            }),
        on(
            "swizzle to too little",
            "swizzled",
            f ->
                f.device
                    .blockFormats()
                    .swizzle(
                        f.tensor(DType.E4M3, 3, 2),
                        f.tensor(DType.E4M3, 6),
                        io.moe4j.Stream.DEFAULT)),
        on(
            "swizzle floats",
            "linear",
            f ->
                f.device
                    .blockFormats()
                    .swizzle(
                        f.tensor(DType.F32, 3, 2),
                        f.tensor(DType.F32, 512),
                        io.moe4j.Stream.DEFAULT)),
        on(
            "swizzled size that overflows",
            "rows",
            f -> f.device.blockFormats().swizzledSpec(DType.E4M3, Long.MAX_VALUE - 5, 1)),
        on(
            "router of I32",
            "weight",
            f -> new Router(f.tensor(DType.I32, 8, 64), Optional.empty())),
        on(
            "router bias too short",
            "bias",
            f -> new Router(f.tensor(DType.F32, 8, 64), Optional.of(f.tensor(DType.F32, 7)))),
        on(
            "router input of another size",
            "hiddenStates",
            f -> logits(f, f.tensor(DType.BF16, 3, 32), f.tensor(DType.F32, 3, 8))),
        on(
            "router output of BF16",
            "logits",
            f -> logits(f, f.tensor(DType.BF16, 3, 64), f.tensor(DType.BF16, 3, 8))),
        on(
            "router output over its input",
            "logits",
            f -> {
              Tensor hidden = f.tensor(DType.F32, 3, 64);
              logits(f, hidden, f.device.borrow(TensorSpec.of(DType.F32, 3, 8), hidden.address()));
            }));
  }

  private static Wrong on(String what, String argument, WrongCallTest.ThrowingCall call) {
    return wrong(
        what,
        argument,
        () -> {
          try (LayerFixture f = new LayerFixture()) {
            call.with(f);
          }
        });
  }

  private static void quantize(LayerFixture f, Tensor source, float scale, Tensor scales) {
    f.device
        .blockFormats()
        .quantize(
            QuantFormat.NVFP4,
            source,
            scale,
            f.tensor(DType.E2M1X2, 2, 16),
            scales,
            io.moe4j.Stream.DEFAULT);
  }

  private static void logits(LayerFixture f, Tensor hiddenStates, Tensor logits) {
    new Router(f.tensor(DType.BF16, 8, 64), Optional.of(f.tensor(DType.F32, 8)))
        .logits(hiddenStates, logits, io.moe4j.Stream.DEFAULT);
  }

  @ParameterizedTest
  @MethodSource("descriptions")
  void isRefusedByName(Wrong wrong) {
    InvalidArgumentException e = assertThrows(InvalidArgumentException.class, wrong.call());
    assertEquals(wrong.argument(), e.argument(), e::getMessage);
  }
}
