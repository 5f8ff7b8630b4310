package io.moe4j.checkpoint;

import io.moe4j.RoutingSpec;
import java.util.NavigableSet;
import java.util.Optional;
import java.util.Set;

/**
 * A softmax over a router's logits chooses experts, which have projections of their own; no biases,
 * no shared experts.
 */
abstract sealed class SoftmaxBlock implements MoeBlock permits Qwen3MoeBlock, MixtralBlock {
  /**
   * What differs from family to family.
   *
   * @param block name of a layer's block
   * @param numExperts key of the configuration
   * @param intermediateSize key of the configuration
   */
  record Names(
      String modelType,
      String block,
      ProjectionNames projections,
      String numExperts,
      String intermediateSize) {}

  private final CheckpointConfig config;
  private final ShardedTensors tensors;
  private final Names names;

  SoftmaxBlock(CheckpointConfig config, ShardedTensors tensors, Names names) {
    this.config = config;
    this.tensors = tensors;
    this.names = names;
  }

  /** What the configuration says of the routing. */
  abstract RoutingSpec routing(CheckpointConfig config);

  @Override
  public final String modelType() {
    return names.modelType();
  }

  @Override
  public final NavigableSet<Integer> layers() {
    return MoeBlock.layersNamed(tensors, "model.layers.", "." + names.block() + ".experts.");
  }

  @Override
  public final MoeCheckpointLayer layer(int layer) {
    String prefix = "model.layers." + layer + "." + names.block() + ".";
    MoeBlock.checkNames(tensors, prefix, Set.of("experts.", "gate.weight"));
    config.expectText("hidden_act", "silu");
    int numExperts = config.count(names.numExperts());
    int hiddenSize = config.count("hidden_size");
    int intermediateSize = config.count(names.intermediateSize());
    CheckpointExperts experts =
        new ProjectionExperts(
                config,
                tensors,
                expert -> prefix + "experts." + expert + ".",
                names.projections(),
                hiddenSize,
                intermediateSize)
            .layer(
                spec ->
                    spec.numExperts(numExperts)
                        .topK(config.count("num_experts_per_tok"))
                        .routing(routing(config)));
    RouterWeights router =
        new RouterWeights(
            tensors.tensor(prefix + "gate.weight").expectFloats(numExperts, hiddenSize));
    return new MoeCheckpointLayer(layer, experts, Optional.empty(), router);
  }
}
