package io.moe4j.tests.oracle;

import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;
import java.util.Arrays;
import java.util.stream.IntStream;

/** The ten routing methods, one token at a time. */
public final class RoutingOracle {
  private static final double TINY = 1e-20;

  private RoutingOracle() {}

  /**
   * Experts of a token, best first.
   *
   * @param ids expert ids
   * @param weights what multiplies each expert's output
   * @param margin by how much the last chosen score beats the best refused one, groups included:
   *     how much rounding the choice survives
   */
  @SuppressWarnings("ArrayRecordComponent")
  public record Choice(int[] ids, double[] weights, double margin) {}

  /**
   * Routes a token.
   *
   * @param bias added to the scores that select, for the methods that have it; null for none
   */
  public static Choice route(RoutingSpec spec, int topK, double[] logits, double[] bias) {
    double[] scores = scores(spec.method(), logits);
    double[] selection = selectionScores(spec.method(), logits, scores, bias);
    double margin = Double.POSITIVE_INFINITY;
    if (spec.numGroups() > 1) {
      double[] groups = groupScores(selection, spec.numGroups());
      int[] order = descending(groups);
      margin = margin(groups, order, spec.topkGroups());
      selection = onlyGroups(selection, order, spec);
    }
    int[] order = descending(selection);
    margin = Math.min(margin, margin(selection, order, topK));
    int[] ids = Arrays.copyOf(order, topK);
    return new Choice(ids, weights(spec, scores, ids), margin);
  }

  private static double[] scores(RoutingMethod method, double[] logits) {
    return switch (method) {
      case DEFAULT, RENORMALIZE_NAIVE -> softmax(logits);
      case RENORMALIZE, TOP_K -> logits;
      case DEEPSEEK_V3, LLAMA4, SIGMOID_RENORM, MINIMAX2, SIGMOID, TOP_K_SIGMOID ->
          Arrays.stream(logits).map(ActivationOracle::sigmoid).toArray();
    };
  }

  private static double[] selectionScores(
      RoutingMethod method, double[] logits, double[] scores, double[] bias) {
    return switch (method) {
      case RENORMALIZE, LLAMA4, TOP_K, TOP_K_SIGMOID -> logits;
      case DEFAULT, RENORMALIZE_NAIVE, SIGMOID_RENORM, SIGMOID -> scores;
      case DEEPSEEK_V3, MINIMAX2 ->
          bias == null
              ? scores
              : IntStream.range(0, scores.length).mapToDouble(e -> scores[e] + bias[e]).toArray();
    };
  }

  private static double[] weights(RoutingSpec spec, double[] scores, int[] ids) {
    double[] chosen = Arrays.stream(ids).mapToDouble(e -> scores[e]).toArray();
    double sum = Arrays.stream(chosen).sum();
    return switch (spec.method()) {
      case DEFAULT, LLAMA4, TOP_K, SIGMOID, TOP_K_SIGMOID -> chosen;
      case RENORMALIZE -> softmax(chosen);
      case RENORMALIZE_NAIVE -> spec.normTopkProb() ? scaled(chosen, 1 / sum) : chosen;
      case SIGMOID_RENORM -> spec.normTopkProb() ? scaled(chosen, 1 / (sum + TINY)) : chosen;
      case DEEPSEEK_V3, MINIMAX2 -> scaled(chosen, spec.scalingFactor() / (sum + TINY));
    };
  }

  /** Sum of the best two of each group of neighbouring experts. */
  private static double[] groupScores(double[] selection, int numGroups) {
    int size = selection.length / numGroups;
    double[] groups = new double[numGroups];
    for (int group = 0; group < numGroups; group++) {
      double[] members = Arrays.copyOfRange(selection, group * size, (group + 1) * size);
      Arrays.sort(members);
      groups[group] = members[size - 1] + (size > 1 ? members[size - 2] : 0);
    }
    return groups;
  }

  private static double[] onlyGroups(double[] selection, int[] groupOrder, RoutingSpec spec) {
    int size = selection.length / spec.numGroups();
    double[] kept = new double[selection.length];
    Arrays.fill(kept, Double.NEGATIVE_INFINITY);
    for (int i = 0; i < spec.topkGroups(); i++) {
      int first = groupOrder[i] * size;
      System.arraycopy(selection, first, kept, first, size);
    }
    return kept;
  }

  /** Indices by falling score; equal scores by rising index. */
  private static int[] descending(double[] scores) {
    return IntStream.range(0, scores.length)
        .boxed()
        .sorted((a, b) -> Double.compare(scores[b], scores[a]))
        .mapToInt(Integer::intValue)
        .toArray();
  }

  private static double margin(double[] scores, int[] order, int kept) {
    if (kept == order.length) {
      return Double.POSITIVE_INFINITY;
    }
    double chosen = scores[order[kept - 1]];
    double refused = scores[order[kept]];
    if (chosen == refused) {
      return 0;
    }
    return refused == Double.NEGATIVE_INFINITY
        ? Double.POSITIVE_INFINITY
        : (chosen - refused) / Math.max(Math.abs(chosen), Math.abs(refused));
  }

  private static double[] softmax(double[] logits) {
    double max = Arrays.stream(logits).max().orElseThrow();
    double[] exp = Arrays.stream(logits).map(l -> Math.exp(l - max)).toArray();
    return scaled(exp, 1 / Arrays.stream(exp).sum());
  }

  private static double[] scaled(double[] values, double factor) {
    return Arrays.stream(values).map(v -> v * factor).toArray();
  }
}
