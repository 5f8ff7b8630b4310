package io.moe4j.tests.numerics;

import io.moe4j.Activation;
import io.moe4j.MoeDevice;
import io.moe4j.QuantFormat;
import io.moe4j.tests.fixtures.CallOption;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestExpert;
import io.moe4j.tests.fixtures.TestLayer;
import io.moe4j.tests.oracle.BlockMatrix;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Scales far from one: kernels that fold exponents into something narrower than the format allows
 * lose or overflow them. The down projection is scaled, so that the output is, and gate outputs, so
 * that activations saturate.
 */
class FarScalesTest {

  @ParameterizedTest
  @CsvSource({"MXFP4, -60", "MXFP4, 40", "NVFP4, -60", "NVFP4, 40"})
  void outputsScaleWithTheDownProjection(QuantFormat format, int exponent) {
    LayerDraw draw = LayerDraw.PLAIN.formats(format, QuantFormat.BF16);
    check(draw, 0, exponent);
    check(draw.options(CallOption.F32_OUTPUT), 0, exponent);
  }

  @ParameterizedTest
  @CsvSource({
    "SWIGLU, 10",
    "SWIGLU, -20",
    "GEGLU, 10",
    "GEGLU, -20",
    "RELU2, 10",
    "RELU2, -20",
    "SITU, 10",
    "SITU, -20",
    "IDENTITY, 10",
    "IDENTITY, -20"
  })
  void activationsSaturateAndVanish(Activation activation, int exponent) {
    LayerDraw draw = LayerDraw.PLAIN.activation(activation);
    check(draw.formats(QuantFormat.MXFP4, QuantFormat.BF16), exponent, 0);
    check(draw.formats(QuantFormat.NVFP4, QuantFormat.BF16), exponent, 0);
  }

  private static void check(LayerDraw draw, int gateExponent, int downExponent) {
    TestLayer drawn = draw.layer();
    TestLayer numbers =
        new TestLayer(
            drawn.spec(),
            drawn.experts().stream()
                .map(expert -> scaled(expert, gateExponent, downExponent))
                .toList(),
            drawn.storage());
    try (MoeDevice device = TestDevice.open()) {
      LayerRun.check(device, numbers, draw.call(), draw + " times powers of two");
    }
  }

  private static TestExpert scaled(TestExpert expert, int gateExponent, int downExponent) {
    return new TestExpert(
        scaled(expert.gate(), gateExponent),
        expert.up(),
        scaled(expert.down(), downExponent),
        expert.biasDtype(),
        expert.gateBias(),
        expert.upBias(),
        expert.downBias(),
        expert.inputScale(),
        expert.intermediateScale(),
        expert.alpha(),
        expert.beta(),
        expert.limit());
  }

  /** The matrix times a power of two, put into whatever scale its format has for that. */
  private static BlockMatrix scaled(BlockMatrix matrix, int exponent) {
    byte[] scales = matrix.scales().clone();
    if (matrix.format() == QuantFormat.MXFP4) {
      for (int i = 0; i < scales.length; i++) {
        scales[i] += (byte) exponent;
      }
    }
    float tensorScale =
        matrix.format() == QuantFormat.NVFP4
            ? Math.scalb(matrix.tensorScale(), exponent)
            : matrix.tensorScale();
    return new BlockMatrix(
        matrix.format(), matrix.rows(), matrix.columns(), matrix.codes(), scales, tensorScale);
  }
}
