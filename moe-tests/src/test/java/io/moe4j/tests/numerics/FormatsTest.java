package io.moe4j.tests.numerics;

import io.moe4j.Activation;
import io.moe4j.MoeDevice;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMode;
import io.moe4j.tests.fixtures.CallOption;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestDevice;
import java.util.EnumSet;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Each format, activation, option and awkward size by itself, so that none is left to chance. */
class FormatsTest {
  private static MoeDevice device;

  @BeforeAll
  static void open() {
    device = TestDevice.open();
  }

  @AfterAll
  static void close() {
    device.close();
  }

  static Stream<LayerDraw> formatsAndActivations() {
    Set<QuantFormat> weights = EnumSet.of(QuantFormat.NVFP4, QuantFormat.MXFP4, QuantFormat.BF16);
    Set<QuantFormat> activations =
        EnumSet.of(
            QuantFormat.BF16, QuantFormat.NVFP4, QuantFormat.MXFP8, QuantFormat.FP8_PER_TOKEN);
    return weights.stream()
        .flatMap(
            weight ->
                activations.stream().map(activation -> LayerDraw.PLAIN.formats(weight, activation)))
        .flatMap(draw -> Stream.of(Activation.values()).map(draw::activation));
  }

  @ParameterizedTest
  @MethodSource("formatsAndActivations")
  void everyFormatWithEveryActivation(LayerDraw draw) {
    LayerRun.check(device, draw.options(CallOption.BIASES));
  }

  @ParameterizedTest
  @EnumSource(CallOption.class)
  void everyOptionAlone(CallOption option) {
    for (RoutingMode mode : RoutingMode.values()) {
      LayerRun.check(device, LayerDraw.PLAIN.options(option).mode(mode));
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = QuantFormat.class,
      names = {"NVFP4", "MXFP8"})
  void quantizedHiddenStates(QuantFormat format) {
    LayerDraw draw = LayerDraw.PLAIN.formats(QuantFormat.MXFP4, format).tokens(9);
    LayerRun.check(device, draw.options(CallOption.QUANTIZED_INPUT));
    LayerRun.check(device, draw.options(CallOption.QUANTIZED_INPUT, CallOption.PER_TOKEN_SCALE));
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2, 7, 8, 9, 33, 64, 257})
  void anyNumberOfTokens(int tokens) {
    LayerDraw draw = LayerDraw.PLAIN.tokens(tokens);
    LayerRun.check(device, draw);
    LayerRun.check(device, draw.formats(QuantFormat.MXFP4, QuantFormat.BF16));
    LayerRun.check(device, draw.options(CallOption.ONE_EXPERT_SET));
    LayerRun.check(device, draw.options(CallOption.EXPERT_PARALLEL, CallOption.REMOTE_EXPERTS));
    LayerRun.check(device, draw.options(CallOption.NOT_FINALIZED, CallOption.EXPERT_PARALLEL));
  }

  /** 90 blocks of 32 are gpt-oss's 2880: a multiple of 64 but not of 128; 10 are 320. */
  @ParameterizedTest
  @EnumSource(
      value = QuantFormat.class,
      names = {"BF16", "NVFP4", "MXFP8", "FP8_PER_TOKEN"})
  void hiddenSizeOfGptOss(QuantFormat activations) {
    LayerDraw draw =
        LayerDraw.PLAIN.formats(QuantFormat.MXFP4, activations).sizes(90, 10).experts(4, 2);
    LayerRun.check(device, draw.tokens(3).options(CallOption.BIASES, CallOption.INTERLEAVED_ROWS));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 5, 9, 17, 31, 33})
  void oddMultiplesOfTheBlock(int blocks) {
    LayerRun.check(device, LayerDraw.PLAIN.sizes(blocks, 34 - blocks));
    LayerRun.check(
        device,
        LayerDraw.PLAIN.formats(QuantFormat.MXFP4, QuantFormat.BF16).sizes(34 - blocks, blocks));
    LayerRun.check(
        device,
        LayerDraw.PLAIN.formats(QuantFormat.BF16, QuantFormat.BF16).sizes(blocks, 34 - blocks));
  }
}
