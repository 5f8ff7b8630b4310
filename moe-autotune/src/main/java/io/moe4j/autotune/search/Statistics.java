package io.moe4j.autotune.search;

import java.util.Arrays;

/** Figures that a few disturbed samples cannot move. */
final class Statistics {
  /** Standard deviation of a normal distribution in units of its median absolute deviation. */
  private static final double DEVIATIONS_PER_MAD = 1.4826;

  /** Standard error of the median in units of the mean's, for a normal distribution. */
  private static final double MEDIAN_ERROR = 1.2533;

  private Statistics() {}

  static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  /** Standard error of the median of values. */
  static double medianError(double[] values) {
    double median = median(values);
    double[] deviations = new double[values.length];
    for (int i = 0; i < values.length; i++) {
      deviations[i] = Math.abs(values[i] - median);
    }
    return MEDIAN_ERROR * DEVIATIONS_PER_MAD * median(deviations) / Math.sqrt(values.length);
  }
}
