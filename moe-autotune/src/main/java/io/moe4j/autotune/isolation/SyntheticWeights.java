package io.moe4j.autotune.isolation;

import io.moe4j.DType;
import io.moe4j.ExpertWeights;
import io.moe4j.MoeSpec;
import io.moe4j.MoeWeights;
import io.moe4j.QuantFormat;
import io.moe4j.TensorSpec;
import io.moe4j.WeightMatrix;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.SplittableRandom;

/** Random weights of a layer's shape, the same for all experts: enough to run every kernel. */
final class SyntheticWeights implements MoeWeights {
  private static final byte E4M3_ONE = 0x38;
  private static final byte UE8M0_SMALL = 120;
  private static final float TENSOR_SCALE = 1f / 128;

  private final ExpertWeights weights;

  SyntheticWeights(MoeSpec spec, boolean bias) {
    int hidden = spec.hiddenSize();
    int intermediate = spec.intermediateSize();
    WeightMatrix inner = matrix(spec.weightFormat(), intermediate, hidden, bias);
    WeightMatrix outer = matrix(spec.weightFormat(), hidden, intermediate, bias);
    this.weights =
        spec.activation().gated()
            ? ExpertWeights.gated(inner, inner, outer)
            : ExpertWeights.ungated(inner, outer);
  }

  @Override
  public ExpertWeights expert(int heldExpert) {
    return weights;
  }

  private static WeightMatrix matrix(QuantFormat format, int rows, int columns, boolean bias) {
    ByteBuffer codes = direct(format.codesSpec(rows, columns).bytes());
    SplittableRandom random = new SplittableRandom(1);
    if (!format.hasScales()) {
      for (int i = 0; i < codes.limit(); i += 2) {
        // About 1/64, either sign.
        codes.putShort(i, (short) (0x3C80 | (random.nextInt() & 0x807F)));
      }
      return withBias(WeightMatrix.bf16(rows, columns, codes), bias);
    }
    for (int i = 0; i < codes.limit(); i++) {
      codes.put(i, (byte) random.nextInt());
    }
    TensorSpec scalesSpec = format.scalesSpec(rows, columns);
    ByteBuffer scales = direct(scalesSpec.bytes());
    // Only scales that are no powers of two have a tensor's scale above them.
    boolean twoLevels = scalesSpec.dtype() == DType.E4M3;
    for (int i = 0; i < scales.limit(); i++) {
      scales.put(i, twoLevels ? E4M3_ONE : UE8M0_SMALL);
    }
    return withBias(
        WeightMatrix.quantized(format, rows, columns, codes, scales, twoLevels ? TENSOR_SCALE : 1f),
        bias);
  }

  private static WeightMatrix withBias(WeightMatrix matrix, boolean bias) {
    return bias
        ? matrix.withBias(new WeightMatrix.Bias(DType.BF16, direct(2L * matrix.rows()), 1))
        : matrix;
  }

  private static ByteBuffer direct(long bytes) {
    return ByteBuffer.allocateDirect(Math.toIntExact(bytes)).order(ByteOrder.LITTLE_ENDIAN);
  }
}
