package io.moe4j.checkpoint;

import io.moe4j.QuantFormat;
import io.moe4j.WeightMatrix;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Values of the formats that weights come in, for inspection: exact, and in no hurry. */
final class BlockValues {
  private static final double[] E2M1 = {
    0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6
  };

  private BlockValues() {}

  /** The value of a block scale's code. */
  static double blockScale(QuantFormat format, int code) {
    return switch (format) {
      case NVFP4 -> e4m3(code);
      case MXFP4, MXFP8 -> code == 0xFF ? Double.NaN : Math.scalb(1.0, code - 127);
      case BF16, FP8_PER_TOKEN, INT8 ->
          throw new IllegalArgumentException(format + ": no block scales of one byte");
    };
  }

  /** E4M3 "fn": bias 7, no infinities, NaN where all bits but the sign are set. */
  static double e4m3(int code) {
    int exponent = (code >> 3) & 0xF;
    int mantissa = code & 7;
    double magnitude =
        (code & 0x7F) == 0x7F
            ? Double.NaN
            : exponent == 0
                ? Math.scalb((double) mantissa, -9)
                : Math.scalb((double) (8 + mantissa), exponent - 10);
    return (code & 0x80) == 0 ? magnitude : -magnitude;
  }

  /** A row of weights, dequantized. */
  static double[] row(WeightMatrix matrix, int row) {
    double[] values = new double[matrix.columns()];
    ByteBuffer codes = matrix.codes().duplicate().order(ByteOrder.LITTLE_ENDIAN);
    int start = Math.toIntExact(row * matrix.rowStride());
    for (int i = 0; i < values.length; i++) {
      if (matrix.format() == QuantFormat.BF16) {
        values[i] = Float.intBitsToFloat(codes.getShort(start + 2 * i) << 16);
      } else {
        int pair = codes.get(start + i / 2);
        values[i] = E2M1[(i % 2 == 0 ? pair : pair >> 4) & 0xF] * scale(matrix, row, i);
      }
    }
    return values;
  }

  private static double scale(WeightMatrix matrix, int row, int column) {
    ByteBuffer scales = matrix.scales().orElseThrow();
    int at = Math.toIntExact(row * matrix.scaleRowStride() + column / matrix.format().block());
    return blockScale(matrix.format(), scales.get(at) & 0xFF) * matrix.tensorScale();
  }
}
