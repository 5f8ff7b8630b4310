package io.moe4j.tests.oracle;

import io.moe4j.QuantFormat;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Real numbers to block formats. Blocks never cross a row, so a matrix is one long row here. */
public final class Quantizers {
  private Quantizers() {}

  /**
   * Quantizes a row-major matrix to any format. NVFP4: block scale = E4M3(amax / 6 / tensorScale);
   * MX formats and FP8_PER_TOKEN, whose block is the row: the smallest power of two that does not
   * saturate; INT8: scale = amax / 127 in F32, code = (float) (value / scale), ties to even; BF16:
   * rounding alone.
   */
  public static BlockMatrix quantize(
      QuantFormat format, int rows, int columns, double[] values, float tensorScale) {
    return switch (format) {
      case BF16 -> bf16(rows, columns, values);
      case NVFP4 -> nvfp4(rows, columns, values, tensorScale);
      case MXFP4 -> mx(QuantFormat.MXFP4, E2m1.MAX, rows, columns, values);
      case INT8 -> int8(rows, columns, values);
      case MXFP8, FP8_PER_TOKEN -> mx(format, E4m3.MAX, rows, columns, values);
    };
  }

  /** A tensor scale with which nothing saturates: amax / (6 * 448). */
  public static float nvfp4TensorScale(double[] values) {
    double amax = amax(values, 0, values.length);
    return amax == 0 ? 1f : (float) (amax / (E2m1.MAX * E4m3.MAX));
  }

  private static BlockMatrix bf16(int rows, int columns, double[] values) {
    byte[] codes = new byte[2 * values.length];
    for (int i = 0; i < values.length; i++) {
      short bits = Bf16.encode(values[i]);
      codes[2 * i] = (byte) bits;
      codes[2 * i + 1] = (byte) (bits >> 8);
    }
    return new BlockMatrix(QuantFormat.BF16, rows, columns, codes, new byte[0], 1f);
  }

  private static BlockMatrix nvfp4(int rows, int columns, double[] values, float tensorScale) {
    int block = BlockMatrix.block(QuantFormat.NVFP4, columns);
    byte[] codes = new byte[values.length / 2];
    byte[] scales = new byte[values.length / block];
    for (int b = 0; b < scales.length; b++) {
      int scale = E4m3.encode(amax(values, b * block, block) / E2m1.MAX / tensorScale);
      scales[b] = (byte) scale;
      for (int i = b * block; i < (b + 1) * block; i++) {
        setNibble(codes, i, e2m1OrZero(values[i], E4m3.decode(scale) * tensorScale));
      }
    }
    return new BlockMatrix(QuantFormat.NVFP4, rows, columns, codes, scales, tensorScale);
  }

  private static BlockMatrix mx(
      QuantFormat format, double largestCode, int rows, int columns, double[] values) {
    int block = BlockMatrix.block(format, columns);
    byte[] codes = new byte[rows * BlockMatrix.rowBytes(format, columns)];
    byte[] scales = new byte[values.length / block];
    for (int b = 0; b < scales.length; b++) {
      int scale = Ue8m0.encodeUp(amax(values, b * block, block) / largestCode);
      scales[b] = (byte) scale;
      for (int i = b * block; i < (b + 1) * block; i++) {
        double scaled = values[i] / Ue8m0.decode(scale);
        if (format == QuantFormat.MXFP4) {
          setNibble(codes, i, E2m1.encode(scaled));
        } else {
          codes[i] = (byte) E4m3.encode(scaled);
        }
      }
    }
    return new BlockMatrix(format, rows, columns, codes, scales, 1f);
  }

  private static BlockMatrix int8(int rows, int columns, double[] values) {
    int block = BlockMatrix.block(QuantFormat.INT8, columns);
    byte[] codes = new byte[values.length];
    ByteBuffer scales =
        ByteBuffer.allocate(values.length / block * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (int b = 0; b < values.length / block; b++) {
      float scale = (float) (amax(values, b * block, block) / 127);
      scales.putFloat(scale);
      for (int i = b * block; scale > 0 && i < (b + 1) * block; i++) {
        double code = Math.rint((float) (values[i] / scale));
        codes[i] = (byte) Math.max(-127, Math.min(127, code));
      }
    }
    return new BlockMatrix(QuantFormat.INT8, rows, columns, codes, scales.array(), 1f);
  }

  private static int e2m1OrZero(double value, double scale) {
    return scale == 0 ? 0 : E2m1.encode(value / scale);
  }

  private static void setNibble(byte[] codes, int index, int nibble) {
    codes[index / 2] |= (byte) (nibble << (4 * (index % 2)));
  }

  private static double amax(double[] values, int start, int count) {
    double amax = 0;
    for (int i = start; i < start + count; i++) {
      amax = Math.max(amax, Math.abs(values[i]));
    }
    return amax;
  }
}
