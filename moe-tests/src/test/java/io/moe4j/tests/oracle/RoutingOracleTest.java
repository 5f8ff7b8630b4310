package io.moe4j.tests.oracle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;
import io.moe4j.tests.oracle.RoutingOracle.Choice;
import org.junit.jupiter.api.Test;

/** The oracle's routing methods on logits ln 1, ln 3, ln 2, ln 4: softmax .1 .3 .2 .4. */
class RoutingOracleTest {
  private static final double[] LOGITS = {0, Math.log(3), Math.log(2), Math.log(4)};
  // sigmoid(ln n) = n / (n + 1)
  private static final double S1 = 1. / 2;
  private static final double S2 = 2. / 3;
  private static final double S3 = 3. / 4;
  private static final double S4 = 4. / 5;

  @Test
  void defaultWeighsWithTheSoftmaxOfAll() {
    check(RoutingSpec.of(RoutingMethod.DEFAULT), new int[] {3, 1}, .4, .3);
  }

  @Test
  void renormalizeWeighsWithTheSoftmaxOfTheChosen() {
    check(RoutingSpec.of(RoutingMethod.RENORMALIZE), new int[] {3, 1}, 4. / 7, 3. / 7);
  }

  @Test
  void renormalizeNaiveDividesOnlyWhenAsked() {
    RoutingMethod method = RoutingMethod.RENORMALIZE_NAIVE;
    check(RoutingSpec.of(method), new int[] {3, 1}, 4. / 7, 3. / 7);
    check(new RoutingSpec(method, 1, 1, 1f, false), new int[] {3, 1}, .4, .3);
  }

  @Test
  void topKWeighsWithTheLogit() {
    check(RoutingSpec.of(RoutingMethod.TOP_K), new int[] {3, 1}, Math.log(4), Math.log(3));
  }

  @Test
  void sigmoidMethodsDifferInTheirDivisor() {
    check(RoutingSpec.of(RoutingMethod.SIGMOID), new int[] {3, 1}, S4, S3);
    check(RoutingSpec.of(RoutingMethod.TOP_K_SIGMOID), new int[] {3, 1}, S4, S3);
    RoutingMethod renorm = RoutingMethod.SIGMOID_RENORM;
    check(RoutingSpec.of(renorm), new int[] {3, 1}, S4 / (S4 + S3), S3 / (S4 + S3));
    check(new RoutingSpec(renorm, 1, 1, 1f, false), new int[] {3, 1}, S4, S3);
  }

  @Test
  void llama4TakesOneExpert() {
    Choice choice = RoutingOracle.route(RoutingSpec.of(RoutingMethod.LLAMA4), 1, LOGITS, null);
    assertArrayEquals(new int[] {3}, choice.ids());
    assertArrayEquals(new double[] {S4}, choice.weights(), 1e-15);
  }

  @Test
  void biasSelectsButDoesNotWeigh() {
    double[] bias = {1, 0, .5, 0};
    double sum = S1 + S2;
    RoutingSpec spec = new RoutingSpec(RoutingMethod.MINIMAX2, 1, 1, 2.5f, true);
    Choice choice = RoutingOracle.route(spec, 2, LOGITS, bias);
    assertArrayEquals(new int[] {0, 2}, choice.ids());
    assertArrayEquals(new double[] {2.5 * S1 / sum, 2.5 * S2 / sum}, choice.weights(), 1e-12);
    // Third best is expert 3 with .8; the last chosen has 2/3 + 1/2.
    assertEquals((S2 + .5 - S4) / (S2 + .5), choice.margin(), 1e-12);
  }

  @Test
  void deepSeekV3KeepsTheGroupsWithTheBestTwo() {
    // Groups {0,1,2}, {3,4,5}: the best single expert is 0, but group 1 has the better pair.
    double[] logits = {Math.log(4), -10, -10, Math.log(3), Math.log(2), 0};
    RoutingSpec spec = RoutingSpec.deepSeekV3(2, 1, 1f);
    Choice choice = RoutingOracle.route(spec, 2, logits, null);
    assertArrayEquals(new int[] {3, 4}, choice.ids());
    assertArrayEquals(new double[] {S3 / (S3 + S2), S2 / (S3 + S2)}, choice.weights(), 1e-12);
  }

  @Test
  void tiesGoToTheLowerIdInExpertsAndGroups() {
    RoutingSpec flat = RoutingSpec.of(RoutingMethod.RENORMALIZE);
    double[] equal = {1, 2, 2, 2, 1, 1};
    Choice choice = RoutingOracle.route(flat, 4, equal, null);
    assertArrayEquals(new int[] {1, 2, 3, 0}, choice.ids());
    assertEquals(0, choice.margin());
    double[] mirrored = {0, 1, 0, 1};
    assertArrayEquals(
        new int[] {1, 0},
        RoutingOracle.route(RoutingSpec.deepSeekV3(2, 1, 1f), 2, mirrored, null).ids());
  }

  private static void check(RoutingSpec spec, int[] ids, double... weights) {
    Choice choice = RoutingOracle.route(spec, ids.length, LOGITS, null);
    assertArrayEquals(ids, choice.ids());
    assertArrayEquals(weights, choice.weights(), 1e-12);
  }
}
