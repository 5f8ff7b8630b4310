package io.moe4j.checkpoint;

import io.moe4j.ExpertWeights;
import io.moe4j.QuantFormat;

/** Reads the experts of one layer, each when asked for. */
sealed interface ExpertReader permits ProjectionExperts, GptOssExperts {

  /** Format of the weights. */
  QuantFormat format();

  /** The weights of an expert of the whole layer, with activation scales of 1. */
  ExpertWeights expert(int expert);

  /**
   * The weights of an expert with the scales that NVFP4 activations need.
   *
   * @throws CheckpointException naming the tensor, when the checkpoint has no such scales
   */
  ExpertWeights expertWithActivationScales(int expert);
}
