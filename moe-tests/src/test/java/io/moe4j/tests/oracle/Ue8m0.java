package io.moe4j.tests.oracle;

/** Block scale of the MX formats: a power of two, 2^(code - 127). */
public final class Ue8m0 {
  private static final int BIAS = 127;
  private static final int NAN = 0xFF;

  private Ue8m0() {}

  /** Value of a code, 0 to 255. */
  public static double decode(int code) {
    return code == NAN ? Double.NaN : Math.scalb(1.0, code - BIAS);
  }

  /** Code of the smallest power of two that is at least {@code value}. */
  public static int encodeUp(double value) {
    for (int code = 0; code < NAN; code++) {
      if (decode(code) >= value) {
        return code;
      }
    }
    throw new IllegalArgumentException("larger than every scale: " + value);
  }
}
