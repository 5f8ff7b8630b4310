package io.moe4j.checkpoint;

import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;

/** Mixtral: the softmax is over the chosen logits. */
final class MixtralBlock extends SoftmaxBlock {
  private static final Names NAMES =
      new Names(
          "mixtral",
          "block_sparse_moe",
          new ProjectionNames("w1", "w3", "w2"),
          "num_local_experts",
          "intermediate_size");

  MixtralBlock(CheckpointConfig config, ShardedTensors tensors) {
    super(config, tensors, NAMES);
  }

  @Override
  RoutingSpec routing(CheckpointConfig config) {
    return RoutingSpec.of(RoutingMethod.RENORMALIZE);
  }
}
