package io.moe4j;

/**
 * The experts of a layer, one at a time, so that preparing a layer never needs all of them in
 * memory. A checkpoint is one; so is a lambda.
 */
@FunctionalInterface
public interface MoeWeights {

  /**
   * The weights of one held expert. Called once for each, in order; the result is not needed after
   * the next call.
   *
   * @param heldExpert from 0: first the local routed experts, then the fused shared ones
   */
  ExpertWeights expert(int heldExpert);
}
