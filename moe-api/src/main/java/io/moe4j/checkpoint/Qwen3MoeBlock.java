package io.moe4j.checkpoint;

import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;

/** Qwen3 MoE: the chosen weights are normalized when the configuration says so. */
final class Qwen3MoeBlock extends SoftmaxBlock {
  private static final Names NAMES =
      new Names("qwen3_moe", "mlp", ProjectionNames.USUAL, "num_experts", "moe_intermediate_size");

  Qwen3MoeBlock(CheckpointConfig config, ShardedTensors tensors) {
    super(config, tensors, NAMES);
  }

  @Override
  RoutingSpec routing(CheckpointConfig config) {
    return new RoutingSpec(
        RoutingMethod.RENORMALIZE_NAIVE, 1, 1, 1f, config.flag("norm_topk_prob"));
  }
}
