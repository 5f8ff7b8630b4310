package io.moe4j.tests.oracle;

/** FP4: sign, two exponent bits, one mantissa bit. */
public final class E2m1 {
  private static final Codebook MAGNITUDES = new Codebook(0, .5, 1, 1.5, 2, 3, 4, 6);
  private static final int SIGN = 8;

  /** The largest value. */
  public static final double MAX = MAGNITUDES.largest();

  private E2m1() {}

  /** Value of a code, 0 to 15. */
  public static double decode(int code) {
    double magnitude = MAGNITUDES.magnitude(code & 7);
    return (code & SIGN) == 0 ? magnitude : -magnitude;
  }

  /** The nearest code, ties to even, saturating. */
  public static int encode(double value) {
    int index = MAGNITUDES.nearest(Math.abs(value));
    return value < 0 ? index | SIGN : index;
  }
}
