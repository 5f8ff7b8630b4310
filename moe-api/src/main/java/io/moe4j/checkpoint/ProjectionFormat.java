package io.moe4j.checkpoint;

import io.moe4j.QuantFormat;
import io.moe4j.WeightMatrix;
import java.util.Optional;
import java.util.Set;

/**
 * How one projection of one expert is stored, where each has tensors of its own. What a tensor is
 * called and typed decides; what the configuration declares may not contradict it.
 */
sealed interface ProjectionFormat permits ModelOptNvfp4, CompressedTensorsNvfp4, PlainBf16 {

  /** Format of the weights. */
  QuantFormat format();

  /** Last parts of the names of all tensors that a projection may have. */
  Set<String> tensorNames();

  /** Refuses a declaration that contradicts this format. */
  void checkDeclared(CheckpointConfig.Quantization declared);

  /**
   * The projection's weights, mapped.
   *
   * @param prefix name of the projection with its final dot
   */
  WeightMatrix matrix(ShardedTensors tensors, String prefix, int rows, int columns);

  /** Tensor scale, a multiplier, for NVFP4 inputs of the projection; empty where there is none. */
  Optional<Float> inputScale(ShardedTensors tensors, String prefix);

  /** Name of the tensor that {@link #inputScale} reads. */
  String inputScaleName();

  /** The format of the projection of this name. */
  static ProjectionFormat of(ShardedTensors tensors, String prefix) {
    if (tensors.contains(prefix + CompressedTensorsNvfp4.WEIGHT)) {
      return CompressedTensorsNvfp4.INSTANCE;
    }
    StoredTensor weight = tensors.tensor(prefix + "weight");
    return switch (weight.dtype()) {
      case U8 -> ModelOptNvfp4.INSTANCE;
      case BF16 -> PlainBf16.INSTANCE;
      default -> throw weight.unexpected("U8 (packed NVFP4 of ModelOpt) or BF16 (not quantized)");
    };
  }

  /** Refuses tensors that the format does not know: the weights' value may depend on them. */
  default void checkNames(ShardedTensors tensors, String prefix) {
    for (String name : tensors.namesFrom(prefix)) {
      if (!tensorNames().contains(name.substring(prefix.length()))) {
        throw CheckpointException.ofTensor(
            tensors.source(), name, "not known beside those of a projection: " + tensorNames());
      }
    }
  }
}
