package io.moe4j.checkpoint;

import io.moe4j.QuantFormat;
import io.moe4j.WeightMatrix;
import java.util.Optional;
import java.util.Set;

/**
 * NVFP4 as compressed-tensors' {@code nvfp4-pack-quantized} writes it: {@code weight_packed} U8 [N,
 * K/2], {@code weight_scale} E4M3 [N, K/16], and {@code weight_global_scale} and {@code
 * input_global_scale}, F32 scalars that <em>divide</em>: they are inverted here, and nowhere else.
 */
final class CompressedTensorsNvfp4 implements ProjectionFormat {
  static final CompressedTensorsNvfp4 INSTANCE = new CompressedTensorsNvfp4();
  static final String WEIGHT = "weight_packed";

  private static final String METHOD = "compressed-tensors";
  private static final String FORMAT = "nvfp4-pack-quantized";

  private CompressedTensorsNvfp4() {}

  @Override
  public QuantFormat format() {
    return QuantFormat.NVFP4;
  }

  @Override
  public Set<String> tensorNames() {
    return Set.of(WEIGHT, "weight_scale", "weight_global_scale", inputScaleName());
  }

  @Override
  public void checkDeclared(CheckpointConfig.Quantization declared) {
    boolean agrees =
        declared.method().equals(METHOD)
            && (declared.formats().isEmpty() || declared.formats().contains(FORMAT));
    if (!agrees) {
      throw new CheckpointException(
          declared.source(),
          "quantization: found "
              + declared.method()
              + " "
              + declared.formats()
              + ", expected "
              + METHOD
              + " with format "
              + FORMAT
              + ", as the experts' tensors are");
    }
  }

  @Override
  public WeightMatrix matrix(ShardedTensors tensors, String prefix, int rows, int columns) {
    return Nvfp4Tensors.matrix(
        tensors.tensor(prefix + WEIGHT),
        tensors.tensor(prefix + "weight_scale"),
        rows,
        columns,
        Nvfp4Tensors.reciprocal(tensors.tensor(prefix + "weight_global_scale")));
  }

  @Override
  public Optional<Float> inputScale(ShardedTensors tensors, String prefix) {
    return tensors.find(prefix + inputScaleName()).map(Nvfp4Tensors::reciprocal);
  }

  @Override
  public String inputScaleName() {
    return "input_global_scale";
  }
}
