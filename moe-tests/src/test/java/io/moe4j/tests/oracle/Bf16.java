package io.moe4j.tests.oracle;

/** bfloat16: the upper half of a float. */
public final class Bf16 {
  private Bf16() {}

  /** Value of a code. */
  public static double decode(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }

  /** The nearest code of a finite value, ties to even. */
  public static short encode(double value) {
    int bits = Float.floatToIntBits((float) value);
    int tieToEven = 0x7FFF + ((bits >>> 16) & 1);
    return (short) ((bits + tieToEven) >> 16);
  }

  /** The nearest value that bfloat16 has. */
  public static double round(double value) {
    return decode(encode(value));
  }
}
