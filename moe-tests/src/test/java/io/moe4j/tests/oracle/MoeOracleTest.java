package io.moe4j.tests.oracle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.moe4j.Activation;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingSpec;
import org.junit.jupiter.api.Test;

/** The oracle's layer on examples small enough for a sheet of paper. */
class MoeOracleTest {
  private static final double[] X = {1, 2};

  /** relu(gate . x + 1)^2 times down. */
  private static final OracleExpert FIRST =
      expert(new double[] {3, -1}, null, new double[] {.5, 1}, new double[] {1}, null);

  /** The same with its own numbers and a bias of down: g = 1, h = 1, y = (2 + 10, 0 + 20). */
  private static final OracleExpert SECOND =
      expert(new double[] {1, 0}, null, new double[] {2, 0}, null, new double[] {10, 20});

  @Test
  void weighsAndAddsTheChosenExperts() {
    MoeOracle oracle = new MoeOracle(relu2().build(), held -> held == 0 ? FIRST : SECOND);
    OracleToken token = token(new int[] {1, 0}, .5, .25);
    // First: g = 3 - 2 + 1 = 2, h = 4, y = (2, 4).
    assertArrayEquals(new double[] {2, 4}, oracle.expertOutput(token, 1));
    assertArrayEquals(new double[] {12, 20}, oracle.expertOutput(token, 0));
    assertArrayEquals(new double[] {6 + .5, 10 + 1}, oracle.output(token));
  }

  @Test
  void expertsOfOtherDevicesGiveNothing() {
    MoeOracle oracle = new MoeOracle(relu2().expertParallel(1, 1).build(), held -> SECOND);
    OracleToken token = token(new int[] {0, 1}, .5, .25);
    assertNull(oracle.expertOutput(token, 0));
    assertEquals(-1, oracle.heldExpert(token, 0));
    assertEquals(0, oracle.heldExpert(token, 1));
    assertArrayEquals(new double[] {3, 5}, oracle.output(token));
  }

  @Test
  void sharedExpertsGetEveryTokenWithWeightOne() {
    MoeSpec spec =
        relu2().topK(1).routing(RoutingSpec.deepSeekV3(1, 1, 1f)).numFusedSharedExperts(1).build();
    MoeOracle oracle = new MoeOracle(spec, held -> held == 2 ? SECOND : FIRST);
    assertArrayEquals(new double[] {12 + 1, 20 + 2}, oracle.output(token(new int[] {0}, .5)));
  }

  @Test
  void tokenScaleComesBeforeBiasAndLoraBeforeTheActivation() {
    MoeOracle oracle = new MoeOracle(relu2().topK(1).build(), held -> FIRST);
    OracleToken token =
        new OracleToken(X, false, new int[] {0}, new double[] {1}, 2, new double[][] {{-1}});
    // g = 2 * 1 + 1 - 1 = 2
    assertArrayEquals(new double[] {2, 4}, oracle.output(token));
  }

  @Test
  void gatedExpertsHaveAnUpProjectionWithItsOwnBiasAndDelta() {
    MoeSpec spec = relu2().topK(1).activation(Activation.GEGLU).build();
    OracleExpert expert =
        new OracleExpert(
            new double[] {100, 0},
            new double[] {0, 1},
            new double[] {1, -1},
            null,
            new double[] {.5},
            null,
            1f,
            1f,
            1f,
            0f,
            Float.POSITIVE_INFINITY);
    OracleToken token =
        new OracleToken(X, false, new int[] {0}, new double[] {1}, 1, new double[][] {{10, .25}});
    // gelu(110) = 110, u = 2 + .5 + .25
    assertArrayEquals(
        new double[] {110 * 2.75, -110 * 2.75}, new MoeOracle(spec, held -> expert).output(token));
  }

  @Test
  void quantizedActivationsRoundXAndH() {
    MoeSpec spec =
        MoeSpec.builder()
            .weightFormat(QuantFormat.BF16)
            .activationFormat(QuantFormat.NVFP4)
            .hiddenSize(16)
            .intermediateSize(16)
            .numExperts(1)
            .topK(1)
            .activation(Activation.IDENTITY)
            .build();
    double[] identity = new double[256];
    for (int i = 0; i < 16; i++) {
      identity[17 * i] = 1;
    }
    OracleExpert expert =
        new OracleExpert(
            identity, null, identity, null, null, null, .5f, 1f, 1f, 0f, Float.POSITIVE_INFINITY);
    double[] x = new double[16];
    x[0] = 3; // block scale 1, exact
    x[1] = 1.25; // 2.5 in units of .5: to 2, so 1; then h = 1 with block scale .5: exact
    double[] y =
        new MoeOracle(spec, held -> expert)
            .output(new OracleToken(x, false, new int[] {0}, new double[] {1}, 1, null));
    assertEquals(3, y[0]);
    assertEquals(1, y[1]);
  }

  private static MoeSpec.Builder relu2() {
    return MoeSpec.builder()
        .weightFormat(QuantFormat.BF16)
        .hiddenSize(2)
        .intermediateSize(1)
        .numExperts(2)
        .topK(2)
        .activation(Activation.RELU2);
  }

  private static OracleExpert expert(
      double[] gate, double[] up, double[] down, double[] gateBias, double[] downBias) {
    return new OracleExpert(
        gate, up, down, gateBias, null, downBias, 1f, 1f, 1f, 0f, Float.POSITIVE_INFINITY);
  }

  private static OracleToken token(int[] ids, double... weights) {
    return new OracleToken(X, false, ids, weights, 1, null);
  }
}
