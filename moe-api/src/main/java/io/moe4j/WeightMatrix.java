package io.moe4j;

import java.nio.ByteBuffer;
import java.util.Optional;

/**
 * One projection of one expert in host memory, [rows, columns], as a checkpoint has it: the strides
 * allow rows of two projections to interleave. Borrows its buffers, which have to be direct (or
 * memory-mapped), little-endian, and start at the first row.
 *
 * @param format format of the codes
 * @param rows output features
 * @param columns K, the reduction axis
 * @param codes codes, row r at byte {@code r * rowStride}
 * @param rowStride bytes between rows of codes
 * @param scales block scales, row r at byte {@code r * scaleRowStride}; empty for BF16
 * @param scaleRowStride bytes between rows of scales; 0 for BF16
 * @param tensorScale multiplies every element; 1 where the format has none
 * @param bias added to the outputs
 */
public record WeightMatrix(
    QuantFormat format,
    int rows,
    int columns,
    ByteBuffer codes,
    long rowStride,
    Optional<ByteBuffer> scales,
    long scaleRowStride,
    float tensorScale,
    Optional<Bias> bias) {

  /**
   * Bias of a projection, one value a row.
   *
   * @param dtype BF16 or F32
   * @param values direct buffer, value r at element {@code r * stride}
   * @param stride elements between adjacent rows' values
   */
  public record Bias(DType dtype, ByteBuffer values, long stride) {
    /** Refuses other types, heap buffers and strides below 1. */
    public Bias {
      Arguments.notNull("bias.dtype", dtype);
      Arguments.notNull("bias.values", values);
      if (dtype != DType.BF16 && dtype != DType.F32) {
        throw new InvalidArgumentException("bias.dtype", dtype, "BF16 or F32");
      }
      checkDirect("bias.values", values);
      if (stride < 1) {
        throw new InvalidArgumentException("bias.stride", stride, "at least 1");
      }
    }
  }

  /** Checks that every row lies inside its buffer and that the format's parts are there. */
  public WeightMatrix {
    Arguments.notNull("format", format);
    Arguments.notNull("codes", codes);
    Arguments.notNull("scales", scales);
    Arguments.notNull("bias", bias);
    if (rows < 1) {
      throw new InvalidArgumentException("rows", rows, "at least 1");
    }
    if (columns < 1 || columns % format.block() != 0) {
      throw new InvalidArgumentException(
          "columns", columns, "a positive multiple of " + format.block());
    }
    checkRows("codes", codes, rows, rowStride, format.codesSpec(1, columns).bytes());
    if (format.hasScales() != scales.isPresent()) {
      throw new InvalidArgumentException(
          "scales",
          scales.isPresent() ? "scales" : "none",
          (format.hasScales() ? "block scales for " : "none for ") + format);
    }
    if (scales.isPresent()) {
      checkRows(
          "scales", scales.get(), rows, scaleRowStride, format.scalesSpec(1, columns).bytes());
    }
    if (!Float.isFinite(tensorScale)) {
      throw new InvalidArgumentException("tensorScale", tensorScale, "a finite factor");
    }
    if (bias.isPresent()) {
      Bias b = bias.get();
      int bytes = b.dtype().bytes();
      // A stride that overflows in bytes is past every buffer.
      long stride = Math.min(b.stride(), Long.MAX_VALUE / bytes) * bytes;
      checkRows("bias.values", b.values(), rows, stride, bytes);
    }
  }

  /** A block-scaled matrix whose rows follow each other without gaps. */
  public static WeightMatrix quantized(
      QuantFormat format,
      int rows,
      int columns,
      ByteBuffer codes,
      ByteBuffer scales,
      float tensorScale) {
    return new WeightMatrix(
        format,
        rows,
        columns,
        codes,
        format.codesSpec(1, columns).bytes(),
        Optional.of(Arguments.notNull("scales", scales)),
        format.scalesSpec(1, columns).bytes(),
        tensorScale,
        Optional.empty());
  }

  /** A BF16 matrix whose rows follow each other without gaps. */
  public static WeightMatrix bf16(int rows, int columns, ByteBuffer codes) {
    return new WeightMatrix(
        QuantFormat.BF16,
        rows,
        columns,
        codes,
        2L * columns,
        Optional.empty(),
        0,
        1f,
        Optional.empty());
  }

  /** This matrix with a bias. */
  public WeightMatrix withBias(Bias bias) {
    return new WeightMatrix(
        format,
        rows,
        columns,
        codes,
        rowStride,
        scales,
        scaleRowStride,
        tensorScale,
        Optional.of(Arguments.notNull("bias", bias)));
  }

  private static void checkRows(
      String name, ByteBuffer buffer, int rows, long stride, long rowBytes) {
    checkDirect(name, buffer);
    if (stride < rowBytes) {
      throw new InvalidArgumentException(
          name + " row stride", stride, "at least a row's " + rowBytes + " bytes");
    }
    long last = buffer.remaining() - rowBytes;
    if (last < 0 || (rows > 1 && stride > last / (rows - 1))) {
      throw new InvalidArgumentException(
          name,
          buffer.remaining() + " bytes",
          rows + " rows of " + rowBytes + " bytes, " + stride + " bytes apart");
    }
  }

  private static void checkDirect(String name, ByteBuffer buffer) {
    if (!buffer.isDirect()) {
      throw new InvalidArgumentException(name, "a heap buffer", "a direct or mapped buffer");
    }
  }
}
