package io.moe4j.tests.oracle;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.moe4j.Activation;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The oracle's activations against values from tables. */
class ActivationOracleTest {
  private static final double NONE = Double.POSITIVE_INFINITY;

  @ParameterizedTest
  @CsvSource({
    "0, 0",
    "0.5, 0.5204998778130465",
    "-1, -0.8427007929497149",
    "2, 0.9953222650189527",
    "4, 0.9999999845827421",
    "7, 1"
  })
  void erfHasItsTabulatedValues(double x, double expected) {
    assertEquals(expected, ActivationOracle.erf(x), 1e-15);
  }

  @Test
  void swiGluIsSiluOfGateTimesUp() {
    // 1 * sigmoid(1) * 2
    assertEquals(
        1.4621171572600098, ActivationOracle.apply(Activation.SWIGLU, 1, 2, 1, 0, NONE), 1e-15);
  }

  @Test
  void swiGluClampsGateAboveAndUpOnBothSides() {
    // g = 7, u = -7: 7 * sigmoid(1.702 * 7) * (-7 + 1)
    double sigmoid = 1 / (1 + Math.exp(-1.702 * 7));
    assertEquals(
        -42 * sigmoid, ActivationOracle.apply(Activation.SWIGLU, 9, -9, 1.702, 1, 7), 1e-12);
    double low = 1 / (1 + Math.exp(1.702 * 9));
    assertEquals(
        -9 * low * 8, ActivationOracle.apply(Activation.SWIGLU, -9, 9, 1.702, 1, 7), 1e-12);
  }

  @Test
  void geGluUsesTheErfForm() {
    // gelu(1) = 0.8413447460685429
    assertEquals(
        2 * 0.8413447460685429, ActivationOracle.apply(Activation.GEGLU, 1, 2, 1, 0, NONE), 1e-15);
  }

  @Test
  void ungatedActivationsIgnoreUp() {
    assertEquals(9, ActivationOracle.apply(Activation.RELU2, 3, 5, 1, 0, NONE));
    assertEquals(0, ActivationOracle.apply(Activation.RELU2, -3, 5, 1, 0, NONE));
    assertEquals(-3, ActivationOracle.apply(Activation.IDENTITY, -3, 5, 1, 0, NONE));
  }

  @Test
  void siTuSaturatesBothFactors() {
    // beta tanh(u / beta) * alpha tanh(g / alpha) * sigmoid(g), g = 100, u = 100: 3 * 2 * 1
    assertEquals(6, ActivationOracle.apply(Activation.SITU, 100, 100, 2, 3, NONE), 1e-12);
    assertEquals(
        Math.tanh(.5) * Math.tanh(1) * 0.7310585786300049,
        ActivationOracle.apply(Activation.SITU, 1, .5, 1, 1, NONE),
        1e-15);
  }
}
