package io.moe4j.checkpoint;

import static io.moe4j.checkpoint.SafetensorsDType.F8_E4M3;
import static io.moe4j.checkpoint.SafetensorsDType.U8;

import io.moe4j.QuantFormat;
import io.moe4j.WeightMatrix;

/** What both families of NVFP4 checkpoints share: packed codes and linear E4M3 block scales. */
final class Nvfp4Tensors {
  private Nvfp4Tensors() {}

  static WeightMatrix matrix(
      StoredTensor codes, StoredTensor scales, int rows, int columns, float tensorScale) {
    codes.expect(U8, rows, columns / 2);
    scales.expect(F8_E4M3, rows, columns / QuantFormat.NVFP4.block());
    return WeightMatrix.quantized(
        QuantFormat.NVFP4, rows, columns, codes.buffer(), scales.buffer(), tensorScale);
  }

  /** The scalar as it is, for scales that multiply. */
  static float multiplier(StoredTensor scalar) {
    float scale = scalar.scalar();
    // Zero is what calibration leaves for weights that are all zero.
    if (!(scale >= 0) || Float.isInfinite(scale)) {
      throw scalar.problem("found " + scale + ", expected a finite factor of at least 0");
    }
    return scale;
  }

  /** The scalar's reciprocal, for scales that divide. */
  static float reciprocal(StoredTensor scalar) {
    float divisor = scalar.scalar();
    float scale = (float) (1 / (double) divisor);
    if (!(divisor > 0) || Float.isInfinite(divisor) || Float.isInfinite(scale)) {
      throw scalar.problem("found " + divisor + ", expected a positive finite divisor");
    }
    return scale;
  }
}
