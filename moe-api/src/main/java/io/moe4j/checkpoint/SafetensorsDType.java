package io.moe4j.checkpoint;

import io.moe4j.DType;
import java.util.Optional;

/** Element types of safetensors files; each constant is spelled as in the files. */
public enum SafetensorsDType {
  /** One byte a truth value. */
  BOOL(8, null),
  /** FP4 (E2M1); an element is half a byte. */
  F4(4, null),
  /** FP6 with 2 exponent bits. */
  F6_E2M3(6, null),
  /** FP6 with 3 exponent bits. */
  F6_E3M2(6, null),
  /** Unsigned byte, and the usual guise of packed FP4 codes. */
  U8(8, DType.U8),
  /** Signed byte. */
  I8(8, null),
  /** FP8 with 5 exponent bits. */
  F8_E5M2(8, null),
  /** FP8 with 4 exponent bits, finite ("fn"). */
  F8_E4M3(8, DType.E4M3),
  /** Power-of-two scale. */
  F8_E8M0(8, DType.UE8M0),
  /** FP8 with 4 exponent bits, no negative zero. */
  F8_E4M3FNUZ(8, null),
  /** FP8 with 5 exponent bits, no negative zero. */
  F8_E5M2FNUZ(8, null),
  /** Signed 16-bit integer. */
  I16(16, DType.I16),
  /** Unsigned 16-bit integer. */
  U16(16, null),
  /** IEEE 754 binary16. */
  F16(16, null),
  /** bfloat16. */
  BF16(16, DType.BF16),
  /** Signed 32-bit integer. */
  I32(32, DType.I32),
  /** Unsigned 32-bit integer. */
  U32(32, null),
  /** IEEE 754 binary32. */
  F32(32, DType.F32),
  /** Two F32. */
  C64(64, null),
  /** IEEE 754 binary64. */
  F64(64, null),
  /** Signed 64-bit integer. */
  I64(64, null),
  /** Unsigned 64-bit integer. */
  U64(64, null);

  private final int bits;
  private final Optional<DType> dtype;

  SafetensorsDType(int bits, DType dtype) {
    this.bits = bits;
    this.dtype = Optional.ofNullable(dtype);
  }

  /** Bits of one element. */
  public int bits() {
    return bits;
  }

  /** The same type in tensors of moe4j; empty where those have none. */
  public Optional<DType> dtype() {
    return dtype;
  }

  /** The guise that a tensor's type takes in a file; packed FP4 codes are written as U8. */
  public static SafetensorsDType of(DType dtype) {
    return switch (dtype) {
      case F32 -> F32;
      case BF16 -> BF16;
      case I32 -> I32;
      case I16 -> I16;
      case U8, E2M1X2 -> U8;
      case E4M3 -> F8_E4M3;
      case UE8M0 -> F8_E8M0;
    };
  }

  /** Alignment of an element in bytes, at least 1. */
  int alignment() {
    return Math.max(1, bits / 8);
  }

  /** The type that a file spells like this; empty if there is none. */
  static Optional<SafetensorsDType> parse(String text) {
    for (SafetensorsDType dtype : values()) {
      if (dtype.name().equals(text)) {
        return Optional.of(dtype);
      }
    }
    return Optional.empty();
  }
}
