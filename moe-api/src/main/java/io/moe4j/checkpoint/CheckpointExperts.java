package io.moe4j.checkpoint;

import io.moe4j.ExpertWeights;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeSpec;
import io.moe4j.MoeWeights;
import io.moe4j.QuantFormat;
import java.util.function.UnaryOperator;

/**
 * Experts of a checkpoint that make a layer: the routed ones, or the shared ones as a layer of one
 * expert (a dense MLP is a Mixture of Experts with one expert of weight 1). Weights are mapped, one
 * expert at a time, when they are asked for.
 */
public final class CheckpointExperts {
  private final ExpertReader reader;
  private final MoeSpec spec;

  private CheckpointExperts(ExpertReader reader, MoeSpec spec) {
    this.reader = reader;
    this.spec = spec;
  }

  static CheckpointExperts of(
      CheckpointConfig config, ExpertReader reader, UnaryOperator<MoeSpec.Builder> shape) {
    try {
      MoeSpec spec = shape.apply(MoeSpec.builder().weightFormat(reader.format())).build();
      return new CheckpointExperts(reader, spec);
    } catch (InvalidArgumentException e) {
      throw new CheckpointException(
          config.path(), "describes a layer that cannot be: " + e.getMessage(), e);
    }
  }

  /** Format of the weights. */
  public QuantFormat weightFormat() {
    return spec.weightFormat();
  }

  /** The layer with BF16 activations. */
  public MoeSpec spec() {
    return spec;
  }

  /** The layer with activations of this format. */
  public MoeSpec spec(QuantFormat activationFormat) {
    return spec.withActivationFormat(activationFormat);
  }

  /**
   * The weights for a layer: those of its local experts, with scales for NVFP4 activations if it
   * has such. A missing scale is found when an expert is read.
   *
   * @param layer {@link #spec(QuantFormat)}, or one of it for a part of the experts
   */
  public MoeWeights weights(MoeSpec layer) {
    if (layer.weightFormat() != spec.weightFormat()
        || layer.hiddenSize() != spec.hiddenSize()
        || layer.intermediateSize() != spec.intermediateSize()
        || layer.numExperts() != spec.numExperts()
        || layer.activation() != spec.activation()) {
      throw new InvalidArgumentException("layer", layer, "the checkpoint's " + spec);
    }
    if (layer.numFusedSharedExperts() != 0) {
      throw new InvalidArgumentException(
          "numFusedSharedExperts",
          layer.numFusedSharedExperts(),
          "0: a checkpoint's shared experts make a layer of their own");
    }
    int offset = layer.expertParallel().localExpertOffset();
    boolean scales = layer.activationFormat() == QuantFormat.NVFP4;
    return held -> expert(offset + held, scales);
  }

  /** For inspection: one expert without a layer. */
  ExpertReader reader() {
    return reader;
  }

  private ExpertWeights expert(int expert, boolean activationScales) {
    if (expert < 0 || expert >= spec.numExperts()) {
      throw new InvalidArgumentException("expert", expert, "0 to " + (spec.numExperts() - 1));
    }
    return activationScales ? reader.expertWithActivationScales(expert) : reader.expert(expert);
  }
}
