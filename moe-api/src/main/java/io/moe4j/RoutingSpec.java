package io.moe4j;

/**
 * A routing method and its parameters.
 *
 * @param method how experts are selected and weighted
 * @param numGroups DeepSeekV3: expert groups, a divisor of the number of experts; otherwise 1
 * @param topkGroups DeepSeekV3: groups kept for each token; otherwise 1
 * @param scalingFactor DeepSeekV3 and MiniMax2: multiplies the weights; otherwise 1
 * @param normTopkProb RenormalizeNaive and SigmoidRenorm: whether weights are divided by their sum
 */
public record RoutingSpec(
    RoutingMethod method,
    int numGroups,
    int topkGroups,
    float scalingFactor,
    boolean normTopkProb) {

  /**
   * Refuses group counts below 1, more kept groups than groups, factors that are not finite, and
   * parameters that the method would ignore.
   */
  public RoutingSpec {
    Arguments.notNull("method", method);
    if (numGroups < 1) {
      throw new InvalidArgumentException("numGroups", numGroups, "at least 1");
    }
    if (topkGroups < 1 || topkGroups > numGroups) {
      throw new InvalidArgumentException("topkGroups", topkGroups, "1 to numGroups = " + numGroups);
    }
    if (!Float.isFinite(scalingFactor)) {
      throw new InvalidArgumentException("scalingFactor", scalingFactor, "a finite factor");
    }
    if (!method.scales() && scalingFactor != 1f) {
      throw new InvalidArgumentException("scalingFactor", scalingFactor, "1 for " + method);
    }
    if (method != RoutingMethod.DEEPSEEK_V3 && numGroups != 1) {
      throw new InvalidArgumentException("numGroups", numGroups, "1 for " + method);
    }
  }

  /** A method with its usual parameters: one group, no scaling, normalized. */
  public static RoutingSpec of(RoutingMethod method) {
    return new RoutingSpec(method, 1, 1, 1f, true);
  }

  /** DeepSeek-V3's grouped routing. */
  public static RoutingSpec deepSeekV3(int numGroups, int topkGroups, float scalingFactor) {
    return new RoutingSpec(RoutingMethod.DEEPSEEK_V3, numGroups, topkGroups, scalingFactor, true);
  }
}
