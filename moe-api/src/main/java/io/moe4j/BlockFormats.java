package io.moe4j;

import io.moe4j.spi.BackendDevice;

/**
 * Quantizers, block-scale layouts and the router's projection of one device. Made by {@link
 * MoeDevice#blockFormats}; safe from any thread.
 */
public final class BlockFormats {
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
   * @param tensorScale NVFP4: amax / (6 * 448) of the whole tensor, usually; 1 otherwise
   */
  public void quantize(
      QuantFormat format,
      Tensor source,
      float tensorScale,
      Tensor codes,
      Tensor scales,
      Stream stream) {
    DType dtype = source.spec().dtype();
    if (dtype != DType.F32 && dtype != DType.BF16) {
      throw new InvalidArgumentException("source", source, "F32 or BF16 [rows, K]");
    }
    checkMatrix("source", source, format.block());
    long rows = source.spec().dim(0);
    long k = source.spec().dim(1);
    check("codes", codes, format.codesSpec(rows, k));
    check("scales", scales, format.scalesSpec(rows, k));
    backend.quantize(
        format,
        rows,
        k,
        dtype,
        source.address(),
        tensorScale,
        codes.address(),
        scales.address(),
        stream.handle());
  }

  /** The inverse of {@link #quantize}, into F32 [rows, K]. */
  public void dequantize(
      QuantFormat format,
      Tensor codes,
      Tensor scales,
      float tensorScale,
      Tensor destination,
      Stream stream) {
    checkMatrix("destination", destination, format.block());
    long rows = destination.spec().dim(0);
    long k = destination.spec().dim(1);
    check("destination", destination, TensorSpec.of(DType.F32, rows, k));
    check("codes", codes, format.codesSpec(rows, k));
    check("scales", scales, format.scalesSpec(rows, k));
    backend.dequantize(
        format,
        rows,
        k,
        codes.address(),
        scales.address(),
        tensorScale,
        destination.address(),
        stream.handle());
  }

  /**
   * Shape of [rows, columns] block scales in the swizzled 128x4 layout: bytes, padding included.
   */
  public TensorSpec swizzledSpec(DType dtype, long rows, long columns) {
    return TensorSpec.of(dtype, backend.swizzledScaleBytes(rows, columns));
  }

  /** Linear [rows, columns] block scales to the swizzled 128x4 layout that Blackwell reads. */
  public void swizzle(Tensor linear, Tensor swizzled, Stream stream) {
    checkMatrix("linear", linear, 1);
    long rows = linear.spec().dim(0);
    long columns = linear.spec().dim(1);
    checkScaleType("linear", linear);
    check("swizzled", swizzled, swizzledSpec(linear.spec().dtype(), rows, columns));
    backend.swizzleScales(rows, columns, linear.address(), swizzled.address(), stream.handle());
  }

  /** The inverse of {@link #swizzle}. */
  public void unswizzle(Tensor swizzled, Tensor linear, Stream stream) {
    checkMatrix("linear", linear, 1);
    long rows = linear.spec().dim(0);
    long columns = linear.spec().dim(1);
    checkScaleType("linear", linear);
    check("swizzled", swizzled, swizzledSpec(linear.spec().dtype(), rows, columns));
    backend.unswizzleScales(rows, columns, swizzled.address(), linear.address(), stream.handle());
  }

  private void checkMatrix(String name, Tensor tensor, int columnMultiple) {
    if (tensor.spec().rank() != 2 || tensor.spec().dim(1) % columnMultiple != 0) {
      throw new InvalidArgumentException(
          name, tensor, "two dimensions, the second a multiple of " + columnMultiple);
    }
    checkDevice(name, tensor);
  }

  private static void checkScaleType(String name, Tensor tensor) {
    DType dtype = tensor.spec().dtype();
    if (dtype.bytes() != 1) {
      throw new InvalidArgumentException(name, tensor, "block scales of one byte");
    }
  }

  private void check(String name, Tensor tensor, TensorSpec expected) {
    if (!tensor.spec().equals(expected)) {
      throw new InvalidArgumentException(name, tensor, expected.toString());
    }
    checkDevice(name, tensor);
  }

  private void checkDevice(String name, Tensor tensor) {
    if (tensor.device() != device) {
      throw new InvalidArgumentException(name, tensor, "a tensor of this " + device.device());
    }
  }
}
