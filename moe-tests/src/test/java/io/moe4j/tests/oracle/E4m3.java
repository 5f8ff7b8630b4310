package io.moe4j.tests.oracle;

/** FP8 "fn": sign, four exponent bits with bias 7, three mantissa bits, no infinities. */
public final class E4m3 {
  private static final int NAN = 0x7F;
  private static final int SIGN = 0x80;
  private static final Codebook MAGNITUDES = new Codebook(magnitudes());

  /** The largest value, 448. */
  public static final double MAX = MAGNITUDES.largest();

  private E4m3() {}

  private static double[] magnitudes() {
    double[] magnitudes = new double[NAN];
    for (int code = 0; code < NAN; code++) {
      int exponent = code >> 3;
      int mantissa = code & 7;
      magnitudes[code] =
          exponent == 0 ? Math.scalb(mantissa, -9) : Math.scalb(8 + mantissa, exponent - 10);
    }
    return magnitudes;
  }

  /** Value of a code, 0 to 255. */
  public static double decode(int code) {
    int index = code & ~SIGN;
    if (index == NAN) {
      return Double.NaN;
    }
    double magnitude = MAGNITUDES.magnitude(index);
    return (code & SIGN) == 0 ? magnitude : -magnitude;
  }

  /** The nearest code, ties to even, saturating. */
  public static int encode(double value) {
    int index = MAGNITUDES.nearest(Math.abs(value));
    return value < 0 ? index | SIGN : index;
  }
}
