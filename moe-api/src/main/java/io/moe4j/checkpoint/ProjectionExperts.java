package io.moe4j.checkpoint;

import io.moe4j.ExpertWeights;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import java.util.function.IntFunction;
import java.util.function.UnaryOperator;

/**
 * Experts whose gate, up and down have tensors of their own, whatever the family calls them. All
 * projections of a layer have one format. Gate and up keep their own tensor scales, which may
 * differ; they share one quantized input, and so the larger of their input scales.
 */
final class ProjectionExperts implements ExpertReader {
  private final CheckpointConfig config;
  private final ShardedTensors tensors;
  private final IntFunction<String> prefix;
  private final ProjectionNames names;
  private final int hiddenSize;
  private final int intermediateSize;
  private final ProjectionFormat format;

  /**
   * @param prefix name of an expert, with its final dot
   */
  ProjectionExperts(
      CheckpointConfig config,
      ShardedTensors tensors,
      IntFunction<String> prefix,
      ProjectionNames names,
      int hiddenSize,
      int intermediateSize) {
    this.config = config;
    this.tensors = tensors;
    this.prefix = prefix;
    this.names = names;
    this.hiddenSize = hiddenSize;
    this.intermediateSize = intermediateSize;
    this.format = ProjectionFormat.of(tensors, gate(0));
    config.quantization().ifPresent(format::checkDeclared);
  }

  /**
   * The layer that they make.
   *
   * @param rest what is to be said of it but sizes and format
   */
  CheckpointExperts layer(UnaryOperator<MoeSpec.Builder> rest) {
    return CheckpointExperts.of(
        config,
        this,
        spec -> rest.apply(spec.hiddenSize(hiddenSize).intermediateSize(intermediateSize)));
  }

  private String gate(int expert) {
    return prefix.apply(expert) + names.gate() + ".";
  }

  private String up(int expert) {
    return prefix.apply(expert) + names.up() + ".";
  }

  private String down(int expert) {
    return prefix.apply(expert) + names.down() + ".";
  }

  @Override
  public QuantFormat format() {
    return format.format();
  }

  @Override
  public ExpertWeights expert(int expert) {
    checkFormat(gate(expert));
    checkFormat(up(expert));
    checkFormat(down(expert));
    return ExpertWeights.gated(
        format.matrix(tensors, gate(expert), intermediateSize, hiddenSize),
        format.matrix(tensors, up(expert), intermediateSize, hiddenSize),
        format.matrix(tensors, down(expert), hiddenSize, intermediateSize));
  }

  @Override
  public ExpertWeights expertWithActivationScales(int expert) {
    return expert(expert)
        .withActivationScales(
            Math.max(inputScale(gate(expert)), inputScale(up(expert))), inputScale(down(expert)));
  }

  private void checkFormat(String projection) {
    ProjectionFormat found = ProjectionFormat.of(tensors, projection);
    if (found != format) {
      throw CheckpointException.ofTensor(
          tensors.source(),
          projection + "weight",
          "found "
              + found.getClass().getSimpleName()
              + ", expected "
              + format.getClass().getSimpleName()
              + " as "
              + gate(0)
              + "weight has");
    }
    format.checkNames(tensors, projection);
  }

  private float inputScale(String projection) {
    String name = projection + format.inputScaleName();
    float scale =
        format
            .inputScale(tensors, projection)
            .orElseThrow(
                () ->
                    CheckpointException.ofTensor(
                        tensors.source(),
                        name,
                        "missing from the checkpoint, but NVFP4 activations need it"));
    if (!(scale > 0)) {
      throw CheckpointException.ofTensor(
          tensors.source(), name, "found " + scale + ", expected more than 0");
    }
    return scale;
  }
}
