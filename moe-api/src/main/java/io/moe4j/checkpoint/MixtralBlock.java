package io.moe4j.checkpoint;

import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;
import java.util.NavigableSet;
import java.util.Optional;
import java.util.Set;

/** Mixtral: softmax over the chosen logits; no biases, no shared experts. */
final class MixtralBlock implements MoeBlock {
  private static final ProjectionNames PROJECTIONS = new ProjectionNames("w1", "w3", "w2");

  private final CheckpointConfig config;
  private final ShardedTensors tensors;

  MixtralBlock(CheckpointConfig config, ShardedTensors tensors) {
    this.config = config;
    this.tensors = tensors;
  }

  @Override
  public String modelType() {
    return "mixtral";
  }

  @Override
  public NavigableSet<Integer> layers() {
    return MoeBlock.layersNamed(tensors, "model.layers.", ".block_sparse_moe.experts.");
  }

  @Override
  public MoeCheckpointLayer layer(int layer) {
    String prefix = "model.layers." + layer + ".block_sparse_moe.";
    MoeBlock.checkNames(tensors, prefix, Set.of("experts.", "gate.weight"));
    config.expectText("hidden_act", "silu");
    int numExperts = config.count("num_local_experts");
    int hiddenSize = config.count("hidden_size");
    int intermediateSize = config.count("intermediate_size");
    CheckpointExperts experts =
        new ProjectionExperts(
                config,
                tensors,
                expert -> prefix + "experts." + expert + ".",
                PROJECTIONS,
                hiddenSize,
                intermediateSize)
            .layer(
                spec ->
                    spec.numExperts(numExperts)
                        .topK(config.count("num_experts_per_tok"))
                        .routing(RoutingSpec.of(RoutingMethod.RENORMALIZE)));
    RouterWeights router =
        new RouterWeights(
            tensors.tensor(prefix + "gate.weight").expectFloats(numExperts, hiddenSize));
    return new MoeCheckpointLayer(layer, experts, Optional.empty(), router);
  }
}
