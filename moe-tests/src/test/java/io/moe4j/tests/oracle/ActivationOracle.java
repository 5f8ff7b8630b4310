package io.moe4j.tests.oracle;

import io.moe4j.Activation;

/** The function between the two matrix multiplications. */
public final class ActivationOracle {
  private ActivationOracle() {}

  /**
   * One element of h.
   *
   * @param g gate output
   * @param u up output; ignored by activations without a gate
   * @param limit clamp of SwiGLU and GeGLU, infinite for none
   */
  public static double apply(
      Activation activation, double g, double u, double alpha, double beta, double limit) {
    double clampedG = Math.min(g, limit);
    double clampedU = Math.max(-limit, Math.min(u, limit));
    return switch (activation) {
      case SWIGLU -> clampedG * sigmoid(alpha * clampedG) * (clampedU + beta);
      case GEGLU -> clampedG * (1 + erf(clampedG / Math.sqrt(2))) / 2 * clampedU;
      case RELU2 -> Math.max(g, 0) * Math.max(g, 0);
      case IDENTITY -> g;
      case SITU -> beta * Math.tanh(u / beta) * alpha * Math.tanh(g / alpha) * sigmoid(g);
    };
  }

  static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x));
  }

  /** erf(x) = 2/sqrt(pi) exp(-x^2) sum over n of 2^n x^(2n+1) / (1 * 3 * ... * (2n+1)). */
  static double erf(double x) {
    if (Math.abs(x) > 6) {
      return Math.signum(x);
    }
    double term = x;
    double sum = x;
    for (int n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
      term *= 2 * x * x / (2 * n + 1);
      sum += term;
    }
    return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
  }
}
