package io.moe4j;

/** Type of one stored element of a tensor. */
public enum DType {
  /** IEEE 754 binary32. */
  F32(4),
  /** bfloat16: the upper half of an F32. */
  BF16(2),
  /** Signed 32-bit integer. */
  I32(4),
  /** Signed 16-bit integer. */
  I16(2),
  /** Raw bytes. */
  U8(1),
  /** FP8 with 4 exponent and 3 mantissa bits, "fn": finite, largest 448, NaN is 0x7F and 0xFF. */
  E4M3(1),
  /** Block scale 2^(b - 127); 0xFF is NaN. */
  UE8M0(1),
  /** Two FP4 (E2M1) codes a byte, the low nibble holds the even index along the last dimension. */
  E2M1X2(1);

  private final int bytes;

  DType(int bytes) {
    this.bytes = bytes;
  }

  /** Bytes of one stored element; a pair of FP4 codes is one element. */
  public int bytes() {
    return bytes;
  }
}
