package io.moe4j.tests.numerics;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.moe4j.MoeDevice;
import io.moe4j.QuantFormat;
import io.moe4j.tests.fixtures.CallOption;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.oracle.BlockMatrix;
import io.moe4j.tests.oracle.Quantizers;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** INT8 activations, which CPU devices alone have. */
class Int8ActivationsTest {
  private static MoeDevice device;

  @BeforeAll
  static void open() {
    device = MoeDevice.open("cpu");
  }

  @AfterAll
  static void close() {
    device.close();
  }

  @ParameterizedTest
  @EnumSource(
      value = QuantFormat.class,
      names = {"NVFP4", "MXFP4"})
  void anyNumberOfTokens(QuantFormat weights) {
    LayerDraw draw = LayerDraw.PLAIN.formats(weights, QuantFormat.INT8).options(CallOption.BIASES);
    for (int tokens : new int[] {0, 1, 2, 7, 33, 130}) {
      LayerRun.check(device, draw.tokens(tokens));
    }
    LayerRun.check(device, draw.sizes(90, 3).experts(4, 2).tokens(3));
  }

  @ParameterizedTest
  @EnumSource(CallOption.class)
  void everyOptionAlone(CallOption option) {
    LayerRun.check(
        device, LayerDraw.PLAIN.formats(QuantFormat.MXFP4, QuantFormat.INT8).options(option));
  }

  @Test
  void oracleRoundsAsDefined() {
    double[] values = new double[32];
    values[0] = 254; // scale 2
    values[1] = 3; // 1.5, a tie
    values[2] = -5; // -2.5, a tie
    values[3] = 0.9;
    BlockMatrix matrix = Quantizers.quantize(QuantFormat.INT8, 1, 32, values, 1f);
    assertEquals(254, matrix.value(0, 0));
    assertEquals(4, matrix.value(0, 1));
    assertEquals(-4, matrix.value(0, 2));
    assertEquals(0, matrix.value(0, 3));
  }
}
