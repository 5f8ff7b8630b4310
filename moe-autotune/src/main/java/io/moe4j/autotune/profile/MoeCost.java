package io.moe4j.autotune.profile;

import io.moe4j.MoeLayer;
import io.moe4j.MoeSpec;

/**
 * What a launch of a layer has to do at least, whatever the tactic: the floor under every measured
 * time.
 *
 * @param activeExperts held experts that some token goes to, expected under uniform routing
 * @param weightBytes prepared bytes of those experts, each read once
 * @param flops multiplications and additions of both matrix products
 */
public record MoeCost(double activeExperts, long weightBytes, double flops) {

  /** The cost for a number of tokens. */
  public static MoeCost of(MoeLayer layer, long tokens) {
    MoeSpec spec = layer.spec();
    double share = (double) spec.topK() / spec.numExperts();
    int local = spec.expertParallel().localNumExperts();
    int shared = spec.numFusedSharedExperts();
    double active = local * (1 - Math.pow(1 - share, (double) tokens)) + shared;
    double rows = tokens * (share * local + shared);
    return new MoeCost(
        active,
        (long) (active * layer.preparedBytes() / spec.numHeldExperts()),
        2.0 * rows * (spec.gemm1Rows() + spec.intermediateSize()) * spec.hiddenSize());
  }

  /**
   * No launch can take less time.
   *
   * @param bytesPerSecond measured rate of reading memory
   * @param flopsPerSecond measured rate of arithmetic
   */
  public double floorNanos(double bytesPerSecond, double flopsPerSecond) {
    return 1e9 * Math.max(weightBytes / bytesPerSecond, flops / flopsPerSecond);
  }
}
