package io.moe4j.checkpoint;

import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;
import java.util.NavigableSet;
import java.util.Optional;
import java.util.Set;

/**
 * DeepSeek-V3 and Kimi-K2: sigmoid routing with a selection bias and expert groups; the first
 * layers are dense; shared experts are one dense expert beside the routed ones.
 */
final class DeepSeekV3Block implements MoeBlock {
  private static final String SHARED = "shared_experts.";
  private static final String SELECTION_BIAS = "gate.e_score_correction_bias";

  private final CheckpointConfig config;
  private final ShardedTensors tensors;

  DeepSeekV3Block(CheckpointConfig config, ShardedTensors tensors) {
    this.config = config;
    this.tensors = tensors;
  }

  @Override
  public String modelType() {
    return "deepseek_v3";
  }

  @Override
  public NavigableSet<Integer> layers() {
    return MoeBlock.layersNamed(tensors, "model.layers.", ".mlp.experts.")
        .tailSet(config.count("first_k_dense_replace", 0), true);
  }

  @Override
  public MoeCheckpointLayer layer(int layer) {
    String prefix = "model.layers." + layer + ".mlp.";
    MoeBlock.checkNames(tensors, prefix, Set.of("experts.", SHARED, "gate.weight", SELECTION_BIAS));
    config.expectText("hidden_act", "silu");
    config.expectText("scoring_func", "sigmoid");
    config.expectText("topk_method", "noaux_tc");
    if (!config.flag("norm_topk_prob", true)) {
      throw config.wrong("norm_topk_prob", "true: DeepSeek-V3's routing normalizes");
    }
    int numExperts = config.count("n_routed_experts");
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
                            RoutingSpec.deepSeekV3(
                                config.count("n_group"),
                                config.count("topk_group"),
                                config.number("routed_scaling_factor"))));
    RouterWeights router =
        new RouterWeights(
            tensors.tensor(prefix + "gate.weight").expectFloats(numExperts, hiddenSize),
            Optional.empty(),
            Optional.of(
                Floats.direct(tensors.tensor(prefix + SELECTION_BIAS).expectFloats(numExperts))));
    return new MoeCheckpointLayer(
        layer, experts, sharedExperts(prefix, hiddenSize, intermediateSize), router);
  }

  private Optional<CheckpointExperts> sharedExperts(
      String prefix, int hiddenSize, int intermediateSize) {
    int count = config.count("n_shared_experts", 0);
    if (count == 0) {
      if (!tensors.namesFrom(prefix + SHARED).isEmpty()) {
        throw config.wrong(
            "n_shared_experts", "at least 1: the checkpoint has " + prefix + SHARED + "*");
      }
      return Optional.empty();
    }
    long sharedSize = (long) intermediateSize * count;
    if (sharedSize > Integer.MAX_VALUE) {
      throw config.wrong("n_shared_experts", "fewer: their size overflows");
    }
    return Optional.of(
        new ProjectionExperts(
                config,
                tensors,
                expert -> prefix + SHARED,
                ProjectionNames.USUAL,
                hiddenSize,
                (int) sharedSize)
            .layer(
                spec -> spec.numExperts(1).topK(1).routing(RoutingSpec.of(RoutingMethod.DEFAULT))));
  }
}
