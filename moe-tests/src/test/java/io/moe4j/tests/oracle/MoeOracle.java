package io.moe4j.tests.oracle;

import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.function.IntFunction;

/**
 * The layer: for each token and each of its experts, two matrix products with an activation between
 * them, and the weighted sum of the results. Nothing is rounded but what the layer's activation
 * format quantizes: x and h.
 */
public final class MoeOracle {
  private final MoeSpec spec;
  private final IntFunction<OracleExpert> experts;
  private final Map<Integer, OracleExpert> decoded = new HashMap<>();

  /**
   * A layer.
   *
   * @param experts held experts, counted as {@link io.moe4j.MoeWeights} does
   */
  public MoeOracle(MoeSpec spec, IntFunction<OracleExpert> experts) {
    this.spec = spec;
    this.experts = experts;
  }

  /** The layer's output for one token, [H]. */
  public double[] output(OracleToken token) {
    double[] output = new double[spec.hiddenSize()];
    for (int slot = 0; slot < spec.topK() + shared(spec); slot++) {
      double[] y = expertOutput(token, slot);
      if (y != null) {
        double weight = slot < spec.topK() ? token.weights()[slot] : 1;
        for (int i = 0; i < output.length; i++) {
          output[i] += weight * y[i];
        }
      }
    }
    return output;
  }

  /**
   * What one of a token's experts makes of it, not weighted, [H]; null where it is not held here.
   *
   * @param slot 0 to k - 1 for the chosen experts, then the fused shared ones
   */
  public double[] expertOutput(OracleToken token, int slot) {
    int held = heldExpert(token, slot);
    if (held < 0) {
      return null;
    }
    OracleExpert expert = decoded.computeIfAbsent(held, experts::apply);
    double[] h = intermediate(expert, token, slot);
    return project(expert.down(), quantized(h, expert.intermediateScale()), 1, expert.downBias());
  }

  /** Counts the held expert of a slot from 0; -1 where another device has it. */
  public int heldExpert(OracleToken token, int slot) {
    int local = spec.expertParallel().localNumExperts();
    if (slot >= spec.topK()) {
      return local + slot - spec.topK();
    }
    int held = token.ids()[slot] - spec.expertParallel().localExpertOffset();
    return held >= 0 && held < local ? held : -1;
  }

  private double[] intermediate(OracleExpert expert, OracleToken token, int slot) {
    double[] x = token.prequantized() ? token.x() : quantized(token.x(), expert.inputScale());
    double[] g = project(expert.gate(), x, token.scale(), expert.gateBias());
    double[] u =
        expert.up() == null
            ? new double[g.length]
            : project(expert.up(), x, token.scale(), expert.upBias());
    if (token.loraDelta() != null && slot < spec.topK()) {
      double[] delta = token.loraDelta()[slot];
      add(g, delta, 0);
      if (expert.up() != null) {
        add(u, delta, g.length);
      }
    }
    double[] h = new double[g.length];
    for (int i = 0; i < h.length; i++) {
      h[i] =
          ActivationOracle.apply(
              spec.activation(), g[i], u[i], expert.alpha(), expert.beta(), expert.limit());
    }
    return h;
  }

  /** What a matrix unit sees of a row. */
  private double[] quantized(double[] row, float tensorScale) {
    QuantFormat format = spec.activationFormat();
    return format == QuantFormat.BF16
        ? row
        : Quantizers.quantize(format, 1, row.length, row, tensorScale).values();
  }

  /** scale * weight . x + bias. */
  private static double[] project(double[] weight, double[] x, double scale, double[] bias) {
    double[] y = new double[weight.length / x.length];
    for (int row = 0; row < y.length; row++) {
      y[row] = scale * dot(weight, row * x.length, x);
    }
    if (bias != null) {
      add(y, bias, 0);
    }
    return y;
  }

  private static double dot(double[] weight, int start, double[] x) {
    double sum = 0;
    for (int i = 0; i < x.length; i++) {
      sum += weight[start + i] * x[i];
    }
    return sum;
  }

  private static void add(double[] y, double[] term, int start) {
    Arrays.setAll(y, i -> y[i] + term[start + i]);
  }

  private static int shared(MoeSpec spec) {
    return spec.numFusedSharedExperts();
  }
}
