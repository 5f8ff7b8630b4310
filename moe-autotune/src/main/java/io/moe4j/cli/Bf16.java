package io.moe4j.cli;

/** The upper half of an F32. */
final class Bf16 {
  private Bf16() {}

  /** Rounds to nearest, ties to even; NaN stays NaN. */
  static short fromFloat(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) ((bits >>> 16) | 0x40);
    }
    return (short) ((bits + 0x7FFF + ((bits >>> 16) & 1)) >>> 16);
  }

  /** The same number. */
  static float toFloat(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }
}
