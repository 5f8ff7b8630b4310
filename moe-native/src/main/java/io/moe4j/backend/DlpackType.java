package io.moe4j.backend;

import io.moe4j.DType;
import io.moe4j.nativelib.DLDataType;

/** The codes that dlpack.h has for devices and for element types. */
final class DlpackType {
  static final int HOST = 1;
  static final int CUDA = 2;
  static final int PINNED_HOST = 3;
  static final int CUDA_MANAGED = 13;

  private static final int SIGNED = 0;
  private static final int UNSIGNED = 1;
  private static final int FLOAT = 2;
  private static final int BFLOAT = 4;
  private static final int FLOAT8_E4M3FN = 10;
  private static final int FLOAT8_E8M0FNU = 14;
  private static final int FLOAT4_E2M1FN = 17;

  private DlpackType() {}

  /** Fills a type's description. */
  static void describe(DType dtype, DLDataType description) {
    description
        .code((byte) code(dtype))
        .bits((byte) (8 * dtype.bytes() / lanes(dtype)))
        .lanes((short) lanes(dtype));
  }

  /** Whether elements of a description are of a type; bytes stand for any type of one byte. */
  static boolean fits(DType dtype, DLDataType description) {
    return is(description, code(dtype), 8 * dtype.bytes() / lanes(dtype), lanes(dtype))
        || (dtype.bytes() == 1 && is(description, UNSIGNED, 8, 1));
  }

  private static boolean is(DLDataType description, int code, int bits, int lanes) {
    return code(description) == code && bits(description) == bits && lanes(description) == lanes;
  }

  /** A description in words, for messages. */
  static String name(DLDataType description) {
    return "elements of "
        + (lanes(description) == 1 ? "" : lanes(description) + " x ")
        + bits(description)
        + " bits with type code "
        + code(description);
  }

  private static int code(DLDataType description) {
    return Byte.toUnsignedInt(description.code());
  }

  private static int bits(DLDataType description) {
    return Byte.toUnsignedInt(description.bits());
  }

  private static int lanes(DLDataType description) {
    return Short.toUnsignedInt(description.lanes());
  }

  /** Elements of a vector that are one of ours. */
  private static int lanes(DType dtype) {
    return dtype == DType.E2M1X2 ? 2 : 1;
  }

  private static int code(DType dtype) {
    return switch (dtype) {
      case F32 -> FLOAT;
      case BF16 -> BFLOAT;
      case I32, I16 -> SIGNED;
      case U8 -> UNSIGNED;
      case E4M3 -> FLOAT8_E4M3FN;
      case UE8M0 -> FLOAT8_E8M0FNU;
      case E2M1X2 -> FLOAT4_E2M1FN;
    };
  }
}
