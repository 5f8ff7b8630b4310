package io.moe4j.tests.oracle;

import io.moe4j.QuantFormat;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A matrix in a block format, as its bytes: blocks run along a row, row-major and without gaps.
 *
 * @param format what the bytes mean
 * @param rows number of rows
 * @param columns elements of a row
 * @param codes BF16 little-endian, FP4 two to a byte (low nibble first), FP8 or INT8
 * @param scales one byte a block, for INT8 an F32 little-endian; empty for BF16
 * @param tensorScale multiplies every element; 1 except for NVFP4
 */
@SuppressWarnings("ArrayRecordComponent")
public record BlockMatrix(
    QuantFormat format, int rows, int columns, byte[] codes, byte[] scales, float tensorScale) {

  /** Elements of a row of {@code columns} that share a scale. */
  public static int block(QuantFormat format, int columns) {
    return switch (format) {
      case BF16 -> 1;
      case NVFP4 -> 16;
      case MXFP4, MXFP8, INT8 -> 32;
      case FP8_PER_TOKEN -> columns;
    };
  }

  /** Bytes of a row of codes. */
  public static int rowBytes(QuantFormat format, int columns) {
    return switch (format) {
      case BF16 -> 2 * columns;
      case NVFP4, MXFP4 -> columns / 2;
      case MXFP8, FP8_PER_TOKEN, INT8 -> columns;
    };
  }

  /** Bytes of a row of scales. */
  public static int scaleRowBytes(QuantFormat format, int columns) {
    return switch (format) {
      case BF16 -> 0;
      case INT8 -> columns / block(format, columns) * Float.BYTES;
      default -> columns / block(format, columns);
    };
  }

  /** Value of one element. */
  public double value(int row, int column) {
    int index = row * columns + column;
    return switch (format) {
      case BF16 -> Bf16.decode((short) ((codes[2 * index] & 0xFF) | (codes[2 * index + 1] << 8)));
      case NVFP4 -> E2m1.decode(nibble(index)) * E4m3.decode(scale(index)) * tensorScale;
      case MXFP4 -> E2m1.decode(nibble(index)) * Ue8m0.decode(scale(index));
      case MXFP8, FP8_PER_TOKEN -> E4m3.decode(codes[index] & 0xFF) * Ue8m0.decode(scale(index));
      case INT8 -> (double) codes[index] * floatScale(index);
    };
  }

  /** Values of all elements, row-major. */
  public double[] values() {
    double[] values = new double[rows * columns];
    for (int row = 0, i = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        values[i++] = value(row, column);
      }
    }
    return values;
  }

  private int nibble(int index) {
    return (codes[index / 2] >> (4 * (index % 2))) & 0xF;
  }

  private double floatScale(int index) {
    return ByteBuffer.wrap(scales)
        .order(ByteOrder.LITTLE_ENDIAN)
        .getFloat(index / block(format, columns) * Float.BYTES);
  }

  private int scale(int index) {
    return scales[index / block(format, columns)] & 0xFF;
  }
}
