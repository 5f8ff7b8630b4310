package io.moe4j.tests.badinput;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.Activation;
import io.moe4j.DType;
import io.moe4j.DeviceCounters;
import io.moe4j.ExpertWeights;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeDevice;
import io.moe4j.QuantFormat;
import io.moe4j.WeightMatrix;
import io.moe4j.tests.badinput.WrongCall.ThrowingConsumer;
import io.moe4j.tests.fixtures.Bytes;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.RowStorage;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestExpert;
import io.moe4j.tests.fixtures.TestLayer;
import io.moe4j.tests.oracle.BlockMatrix;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Weights that are not what they have to be, refused while a layer is prepared. */
class BadWeightsTest {

  private static WrongCall<MoeDevice> wrong(
      String what, String named, ThrowingConsumer<MoeDevice> call) {
    return new WrongCall<>(what, InvalidArgumentException.class, named, call);
  }

  static List<WrongCall<MoeDevice>> matrices() {
    BlockMatrix good = expert(QuantFormat.NVFP4).gate();
    ByteBuffer codes = Bytes.direct(good.codes());
    ByteBuffer scales = Bytes.direct(good.scales());
    int rows = good.rows();
    int columns = good.columns();
    QuantFormat nvfp4 = QuantFormat.NVFP4;
    return List.of(
        wrong(
            "null codes",
            "codes",
            d -> WeightMatrix.quantized(nvfp4, rows, columns, null, scales, 1f)),
        wrong(
            "codes on the heap",
            "codes",
            d ->
                WeightMatrix.quantized(
                    nvfp4, rows, columns, ByteBuffer.wrap(good.codes()), scales, 1f)),
        wrong(
            "codes of one byte too few",
            "codes",
            d ->
                WeightMatrix.quantized(
                    nvfp4, rows, columns, codes.duplicate().position(1), scales, 1f)),
        wrong(
            "scales of one row too few",
            "scales",
            d ->
                WeightMatrix.quantized(
                    nvfp4, rows, columns, codes, scales.duplicate().position(columns / 16), 1f)),
        wrong(
            "no scales",
            "scales",
            d ->
                new WeightMatrix(
                    nvfp4,
                    rows,
                    columns,
                    codes,
                    columns / 2,
                    Optional.empty(),
                    0,
                    1f,
                    Optional.empty())),
        wrong(
            "rows that overlap",
            "codes row stride",
            d ->
                new WeightMatrix(
                    nvfp4,
                    rows,
                    columns,
                    codes,
                    columns / 2 - 1,
                    Optional.of(scales),
                    columns / 16,
                    1f,
                    Optional.empty())),
        wrong(
            "columns that are no blocks",
            "columns",
            d -> WeightMatrix.quantized(nvfp4, rows, 24, codes, scales, 1f)),
        wrong(
            "NaN tensor scale",
            "tensorScale",
            d -> WeightMatrix.quantized(nvfp4, rows, columns, codes, scales, Float.NaN)),
        wrong(
            "infinite tensor scale",
            "tensorScale",
            d ->
                WeightMatrix.quantized(
                    nvfp4, rows, columns, codes, scales, Float.POSITIVE_INFINITY)),
        wrong("I32 bias", "bias.dtype", d -> new WeightMatrix.Bias(DType.I32, codes, 1)),
        wrong(
            "bias without stride", "bias.stride", d -> new WeightMatrix.Bias(DType.F32, codes, 0)),
        wrong(
            "short bias",
            "bias.values",
            d ->
                WeightMatrix.quantized(nvfp4, rows, columns, codes, scales, 1f)
                    .withBias(
                        new WeightMatrix.Bias(
                            DType.F32, ByteBuffer.allocateDirect(4 * rows - 1), 1))));
  }

  static List<WrongCall<MoeDevice>> experts() {
    return List.of(
        wrong("null expert", "experts[1]", d -> prepare(d, QuantFormat.NVFP4, e -> null)),
        wrong(
            "null gate",
            "gate",
            d -> prepare(d, QuantFormat.NVFP4, e -> ExpertWeights.ungated(null, e.down()))),
        wrong(
            "no up projection",
            "experts[1].up",
            d -> prepare(d, QuantFormat.NVFP4, e -> ExpertWeights.ungated(e.gate(), e.down()))),
        wrong(
            "gate transposed",
            "experts[1].gate",
            d ->
                prepare(
                    d,
                    QuantFormat.NVFP4,
                    e -> ExpertWeights.gated(e.down(), e.up().orElseThrow(), e.down()))),
        wrong(
            "weights of another format",
            "experts[1].gate.format",
            d ->
                prepare(
                    d,
                    QuantFormat.NVFP4,
                    e -> expert(QuantFormat.MXFP4).weights(RowStorage.COMPACT))),
        wrong(
            "input scale 0",
            "inputScale",
            d -> prepare(d, QuantFormat.NVFP4, e -> e.withActivationScales(0f, 1f))),
        wrong(
            "NaN intermediate scale",
            "intermediateScale",
            d -> prepare(d, QuantFormat.NVFP4, e -> e.withActivationScales(1f, Float.NaN))),
        wrong(
            "NaN alpha",
            "alpha",
            d -> prepare(d, QuantFormat.NVFP4, e -> e.withActivation(Float.NaN, 0f, 1f))),
        wrong(
            "negative limit",
            "limit",
            d -> prepare(d, QuantFormat.NVFP4, e -> e.withActivation(1f, 0f, -1f))),
        wrong(
            "NaN in E4M3 block scales", "scale", d -> prepareWithScale(d, QuantFormat.NVFP4, 0x7F)),
        wrong(
            "negative NaN in E4M3 block scales",
            "scale",
            d -> prepareWithScale(d, QuantFormat.NVFP4, 0xFF)),
        wrong(
            "NaN in UE8M0 block scales",
            "scale",
            d -> prepareWithScale(d, QuantFormat.MXFP4, 0xFF)),
        wrong(
            "alpha of SiTU 0",
            "alpha",
            d -> {
              TestLayer layer = LayerDraw.PLAIN.activation(Activation.SITU).layer();
              d.prepare(
                      layer.spec(),
                      held -> layer.expert(held).withActivation(0f, 1f, Float.POSITIVE_INFINITY))
                  .close();
            }));
  }

  @ParameterizedTest
  @MethodSource({"matrices", "experts"})
  void isRefusedByName(WrongCall<MoeDevice> wrong) {
    try (MoeDevice device = TestDevice.open()) {
      Throwable thrown = assertThrows(Throwable.class, () -> wrong.call().accept(device));
      assertInstanceOf(wrong.type(), thrown, () -> "thrown: " + thrown);
      assertTrue(
          ((InvalidArgumentException) thrown).argument().contains(wrong.named()),
          () -> "\"" + wrong.named() + "\" is not named by: " + thrown.getMessage());
      DeviceCounters counters = device.counters();
      assertEquals(0, counters.liveLayers());
      assertEquals(0, counters.liveBytes());
    }
  }

  private static TestExpert expert(QuantFormat format) {
    return LayerDraw.PLAIN.formats(format, QuantFormat.BF16).sizes(6, 2).layer().experts().get(0);
  }

  /** Prepares a layer whose second expert is changed. */
  private static void prepare(
      MoeDevice device, QuantFormat format, UnaryOperator<ExpertWeights> change) {
    TestLayer layer = LayerDraw.PLAIN.formats(format, QuantFormat.BF16).layer();
    device
        .prepare(
            layer.spec(), held -> held == 1 ? change.apply(layer.expert(held)) : layer.expert(held))
        .close();
  }

  /** Puts a scale into the last block of the second expert's down projection. */
  private static void prepareWithScale(MoeDevice device, QuantFormat format, int scale) {
    prepare(
        device,
        format,
        expert -> {
          ByteBuffer scales = expert.down().scales().orElseThrow();
          scales.put(scales.limit() - 1, (byte) scale);
          return expert;
        });
  }
}
