package io.moe4j;

/**
 * Formats of weights and of matrix-multiplication inputs. Blocks run along K, the reduction axis.
 *
 * <p>Value of an element: BF16 the code; NVFP4 {@code e2m1 * e4m3 * tensorScale}; MXFP4 {@code e2m1
 * * 2^(b - 127)}; MXFP8 and FP8_PER_TOKEN {@code e4m3 * 2^(b - 127)}; INT8 {@code code * scale}.
 */
public enum QuantFormat {
  /** Not quantized. */
  BF16(1, DType.BF16, null),
  /** FP4 with an E4M3 scale per 16 elements and an F32 scale per tensor. */
  NVFP4(16, DType.E2M1X2, DType.E4M3),
  /** FP4 with a power-of-two scale per 32 elements. */
  MXFP4(32, DType.E2M1X2, DType.UE8M0),
  /** FP8 with a power-of-two scale per 32 elements; activations only. */
  MXFP8(32, DType.E4M3, DType.UE8M0),
  /**
   * FP8 with a power-of-two scale per token, 2^ceil(log2(amax / 448)); activations only, quantized
   * inside a launch. Never chosen unless asked for.
   */
  FP8_PER_TOKEN(1, DType.E4M3, null),
  /**
   * Eight-bit integers with an F32 scale per 32 elements, amax / 127; activations only, with FP4
   * weights and on CPUs only, quantized inside a launch. Never chosen unless asked for: costs about
   * 1e-2 of relative error.
   */
  INT8(32, DType.U8, null);

  private final int block;
  private final DType codes;
  private final DType scales;

  QuantFormat(int block, DType codes, DType scales) {
    this.block = block;
    this.codes = codes;
    this.scales = scales;
  }

  /** Elements that share a block scale; 1 where there are none. Sizes are multiples of it. */
  public int block() {
    return block;
  }

  /** Whether block scales belong to the codes. */
  public boolean hasScales() {
    return scales != null;
  }

  /** Whether weights may have it. */
  public boolean isForWeights() {
    return this == BF16 || this == NVFP4 || this == MXFP4;
  }

  /** Whether the inputs of matrix multiplications may have it. */
  public boolean isForActivations() {
    return this != MXFP4;
  }

  /** Codes of a matrix [rows, k]. */
  public TensorSpec codesSpec(long rows, long k) {
    return TensorSpec.of(codes, rows, codes == DType.E2M1X2 ? k / 2 : k);
  }

  /** Linear block scales of a matrix [rows, k]; only where {@link #hasScales}. */
  public TensorSpec scalesSpec(long rows, long k) {
    if (scales == null) {
      throw new InvalidArgumentException("format", this, "a format with block scales");
    }
    return TensorSpec.of(scales, rows, k / block);
  }

  /** Bytes of a [rows, k] matrix in this format, scales included. */
  public long bytes(long rows, long k) {
    return codesSpec(rows, k).bytes() + (hasScales() ? scalesSpec(rows, k).bytes() : 0);
  }
}
