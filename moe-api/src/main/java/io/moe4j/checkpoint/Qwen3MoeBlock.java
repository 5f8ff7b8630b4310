package io.moe4j.checkpoint;

import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;
import java.util.NavigableSet;
import java.util.Optional;
import java.util.Set;

/** Qwen3 MoE: softmax, top-k, normalized when the configuration says so; no shared experts. */
final class Qwen3MoeBlock implements MoeBlock {
  private final CheckpointConfig config;
  private final ShardedTensors tensors;

  Qwen3MoeBlock(CheckpointConfig config, ShardedTensors tensors) {
    this.config = config;
    this.tensors = tensors;
  }

  @Override
  public String modelType() {
    return "qwen3_moe";
  }

  @Override
  public NavigableSet<Integer> layers() {
    return MoeBlock.layersNamed(tensors, "model.layers.", ".mlp.experts.");
  }

  @Override
  public MoeCheckpointLayer layer(int layer) {
    String prefix = "model.layers." + layer + ".mlp.";
    MoeBlock.checkNames(tensors, prefix, Set.of("experts.", "gate.weight"));
    config.expectText("hidden_act", "silu");
    int numExperts = config.count("num_experts");
    int hiddenSize = config.count("hidden_size");
    int intermediateSize = config.count("moe_intermediate_size");
    CheckpointExperts experts =
        new ProjectionExperts(
                config,
                tensors,
                expert -> prefix + "experts." + expert + ".",
                ProjectionNames.USUAL,
                hiddenSize,
                intermediateSize)
            .layer(
                spec ->
                    spec.numExperts(numExperts)
                        .topK(config.count("num_experts_per_tok"))
                        .routing(
                            new RoutingSpec(
                                RoutingMethod.RENORMALIZE_NAIVE,
                                1,
                                1,
                                1f,
                                config.flag("norm_topk_prob"))));
    RouterWeights router =
        new RouterWeights(
            tensors.tensor(prefix + "gate.weight").expectFloats(numExperts, hiddenSize));
    return new MoeCheckpointLayer(layer, experts, Optional.empty(), router);
  }
}
