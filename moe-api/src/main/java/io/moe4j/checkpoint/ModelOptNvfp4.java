package io.moe4j.checkpoint;

import io.moe4j.QuantFormat;
import io.moe4j.WeightMatrix;
import java.util.Optional;
import java.util.Set;

/**
 * NVFP4 as NVIDIA's Model Optimizer writes it: {@code weight} U8 [N, K/2], {@code weight_scale}
 * E4M3 [N, K/16], and {@code weight_scale_2} and {@code input_scale}, F32 scalars that multiply.
 */
final class ModelOptNvfp4 implements ProjectionFormat {
  static final ModelOptNvfp4 INSTANCE = new ModelOptNvfp4();

  private ModelOptNvfp4() {}

  @Override
  public QuantFormat format() {
    return QuantFormat.NVFP4;
  }

  @Override
  public Set<String> tensorNames() {
    return Set.of("weight", "weight_scale", "weight_scale_2", inputScaleName());
  }

  @Override
  public void checkDeclared(CheckpointConfig.Quantization declared) {
    boolean agrees =
        declared.method().startsWith("modelopt")
            && (declared.formats().isEmpty() || declared.formats().contains("NVFP4"));
    if (!agrees) {
      throw new CheckpointException(
          declared.source(),
          "quantization: found "
              + declared.method()
              + " "
              + declared.formats()
              + ", expected modelopt with quant_algo NVFP4, as the experts' tensors are");
    }
  }

  @Override
  public WeightMatrix matrix(ShardedTensors tensors, String prefix, int rows, int columns) {
    return Nvfp4Tensors.matrix(
        tensors.tensor(prefix + "weight"),
        tensors.tensor(prefix + "weight_scale"),
        rows,
        columns,
        Nvfp4Tensors.multiplier(tensors.tensor(prefix + "weight_scale_2")));
  }

  @Override
  public Optional<Float> inputScale(ShardedTensors tensors, String prefix) {
    return tensors.find(prefix + inputScaleName()).map(Nvfp4Tensors::multiplier);
  }

  @Override
  public String inputScaleName() {
    return "input_scale";
  }
}
