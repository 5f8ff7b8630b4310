package io.moe4j;

import io.moe4j.spi.BackendDevice;

/**
 * Quantizers and block-scale layouts of one device. Made by {@link MoeDevice#blockFormats}; safe
 * from any thread. Tensors are held open while an operation runs; what it writes may not overlap
 * what it reads.
 */
public final class BlockFormats {
  /** Most rows and columns of block scales, so that no padded size overflows. */
  private static final long MAX_EXTENT = 1L << 30;

  private final MoeDevice device;
  private final BackendDevice backend;

  BlockFormats(MoeDevice device) {
    this.device = device;
    this.backend = device.backend();
  }

  /**
   * Quantizes [rows, K] of F32 or BF16 into codes and linear block scales. NVFP4: block scale =
   * E4M3(amax / 6 / tensorScale). MXFP4, MXFP8: the smallest power of two that does not saturate.
   *
   * @param format NVFP4, MXFP4 or MXFP8
   * @param tensorScale NVFP4: amax / (6 * 448) of the whole tensor, usually; 1 otherwise
   */
  public void quantize(
      QuantFormat format,
      Tensor source,
      float tensorScale,
      Tensor codes,
      Tensor scales,
      Stream stream) {
    checkFormat(format, tensorScale);
    TensorChecks.isFloatMatrix("source", source);
    TensorChecks.isMatrix("source", source, format.block());
    TensorChecks.isOn("source", source, device);
    long rows = source.spec().dim(0);
    long k = source.spec().dim(1);
    check("codes", codes, format.codesSpec(rows, k));
    check("scales", scales, format.scalesSpec(rows, k));
    TensorChecks.isWritable("codes", codes);
    TensorChecks.isWritable("scales", scales);
    TensorUse.during(
        device,
        stream,
        handle -> {
          TensorChecks.isApart("codes", codes, "source", source);
          TensorChecks.isApart("scales", scales, "source", source);
          TensorChecks.isApart("scales", scales, "codes", codes);
          backend.quantize(
              format,
              rows,
              k,
              source.spec().dtype(),
              source.address(),
              tensorScale,
              codes.address(),
              scales.address(),
              handle);
        },
        source,
        codes,
        scales);
  }

  /** The inverse of {@link #quantize}, into F32 [rows, K]. */
  public void dequantize(
      QuantFormat format,
      Tensor codes,
      Tensor scales,
      float tensorScale,
      Tensor destination,
      Stream stream) {
    checkFormat(format, tensorScale);
    TensorChecks.isMatrix("destination", destination, format.block());
    long rows = destination.spec().dim(0);
    long k = destination.spec().dim(1);
    check("destination", destination, TensorSpec.of(DType.F32, rows, k));
    check("codes", codes, format.codesSpec(rows, k));
    check("scales", scales, format.scalesSpec(rows, k));
    TensorChecks.isWritable("destination", destination);
    TensorUse.during(
        device,
        stream,
        handle -> {
          TensorChecks.isApart("destination", destination, "codes", codes);
          TensorChecks.isApart("destination", destination, "scales", scales);
          backend.dequantize(
              format,
              rows,
              k,
              codes.address(),
              scales.address(),
              tensorScale,
              destination.address(),
              handle);
        },
        codes,
        scales,
        destination);
  }

  /**
   * Shape of [rows, columns] block scales in the swizzled 128x4 layout: bytes, padding included.
   */
  public TensorSpec swizzledSpec(DType dtype, long rows, long columns) {
    if (Arguments.notNull("dtype", dtype).bytes() != 1) {
      throw new InvalidArgumentException("dtype", dtype, "a type of one byte");
    }
    checkExtent("rows", rows);
    checkExtent("columns", columns);
    return device.using(() -> TensorSpec.of(dtype, backend.swizzledScaleBytes(rows, columns)));
  }

  /** Linear [rows, columns] block scales to the swizzled 128x4 layout that Blackwell reads. */
  public void swizzle(Tensor linear, Tensor swizzled, Stream stream) {
    checkLayouts(linear, swizzled);
    TensorChecks.isWritable("swizzled", swizzled);
    long rows = linear.spec().dim(0);
    long columns = linear.spec().dim(1);
    TensorUse.during(
        device,
        stream,
        handle -> {
          TensorChecks.isApart("swizzled", swizzled, "linear", linear);
          backend.swizzleScales(rows, columns, linear.address(), swizzled.address(), handle);
        },
        linear,
        swizzled);
  }

  /** The inverse of {@link #swizzle}. */
  public void unswizzle(Tensor swizzled, Tensor linear, Stream stream) {
    checkLayouts(linear, swizzled);
    TensorChecks.isWritable("linear", linear);
    long rows = linear.spec().dim(0);
    long columns = linear.spec().dim(1);
    TensorUse.during(
        device,
        stream,
        handle -> {
          TensorChecks.isApart("linear", linear, "swizzled", swizzled);
          backend.unswizzleScales(rows, columns, swizzled.address(), linear.address(), handle);
        },
        swizzled,
        linear);
  }

  private void checkLayouts(Tensor linear, Tensor swizzled) {
    TensorChecks.isMatrix("linear", linear, 1);
    TensorSpec spec = linear.spec();
    if (spec.dtype().bytes() != 1) {
      throw new InvalidArgumentException("linear", spec, "block scales of one byte");
    }
    TensorChecks.isOn("linear", linear, device);
    check("swizzled", swizzled, swizzledSpec(spec.dtype(), spec.dim(0), spec.dim(1)));
  }

  private static void checkExtent(String name, long extent) {
    if (extent < 0 || extent > MAX_EXTENT) {
      throw new InvalidArgumentException(name, extent, "0 to " + MAX_EXTENT);
    }
  }

  private static void checkFormat(QuantFormat format, float tensorScale) {
    if (!Arguments.notNull("format", format).hasScales()) {
      throw new InvalidArgumentException("format", format, "NVFP4, MXFP4 or MXFP8");
    }
    if (!(tensorScale > 0) || Float.isInfinite(tensorScale)) {
      throw new InvalidArgumentException("tensorScale", tensorScale, "a positive finite factor");
    }
    if (format != QuantFormat.NVFP4 && tensorScale != 1f) {
      throw new InvalidArgumentException("tensorScale", tensorScale, "1 for " + format);
    }
  }

  private void check(String name, Tensor tensor, TensorSpec expected) {
    TensorChecks.is(name, tensor, expected);
    TensorChecks.isOn(name, tensor, device);
  }
}
