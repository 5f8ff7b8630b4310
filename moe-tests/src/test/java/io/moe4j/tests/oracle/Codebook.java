package io.moe4j.tests.oracle;

import java.util.Arrays;

/** The magnitudes of a small float format in ascending order: its definition as a table. */
final class Codebook {
  private final double[] magnitudes;

  Codebook(double... magnitudes) {
    this.magnitudes = magnitudes;
  }

  double magnitude(int index) {
    return magnitudes[index];
  }

  double largest() {
    return magnitudes[magnitudes.length - 1];
  }

  /** Index of the nearest magnitude; ties go to the even index, what is too large to the last. */
  int nearest(double magnitude) {
    if (Double.isNaN(magnitude) || magnitude < 0) {
      throw new IllegalArgumentException("not a magnitude: " + magnitude);
    }
    int found = Arrays.binarySearch(magnitudes, magnitude);
    if (found >= 0) {
      return found;
    }
    int above = -found - 1;
    if (above == magnitudes.length) {
      return above - 1;
    }
    double toBelow = magnitude - magnitudes[above - 1];
    double toAbove = magnitudes[above] - magnitude;
    if (toBelow == toAbove) {
      return above % 2 == 0 ? above : above - 1;
    }
    return toBelow < toAbove ? above - 1 : above;
  }
}
