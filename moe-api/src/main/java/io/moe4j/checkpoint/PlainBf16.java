package io.moe4j.checkpoint;

import io.moe4j.QuantFormat;
import io.moe4j.WeightMatrix;
import java.util.Optional;
import java.util.Set;

/** Not quantized, as layers that a quantizer was told to ignore: {@code weight} BF16 [N, K]. */
final class PlainBf16 implements ProjectionFormat {
  static final PlainBf16 INSTANCE = new PlainBf16();

  private PlainBf16() {}

  @Override
  public QuantFormat format() {
    return QuantFormat.BF16;
  }

  @Override
  public Set<String> tensorNames() {
    return Set.of("weight");
  }

  /** Any declaration may leave layers out. */
  @Override
  public void checkDeclared(CheckpointConfig.Quantization declared) {}

  @Override
  public WeightMatrix matrix(ShardedTensors tensors, String prefix, int rows, int columns) {
    StoredTensor weight = tensors.tensor(prefix + "weight");
    weight.expect(SafetensorsDType.BF16, rows, columns);
    return WeightMatrix.bf16(rows, columns, weight.buffer());
  }

  @Override
  public Optional<Float> inputScale(ShardedTensors tensors, String prefix) {
    return Optional.empty();
  }

  @Override
  public String inputScaleName() {
    return "input_scale";
  }
}
