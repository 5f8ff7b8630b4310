package io.moe4j;

import java.util.Optional;

/**
 * The tensors of one launch: routing, input, output and options. Immutable and reusable: a server
 * makes one for each set of buffers and runs it many times. A record of references; it owns
 * nothing.
 *
 * @param routing where experts and weights come from
 * @param hiddenStates input [T, H]
 * @param output where the result goes
 * @param perTokenScale F32 [T], multiplies each token's input before bias and activation
 * @param gemm1LoraDelta BF16 [T, k, 2I] (gate then up; [T, k, I] without a gate), added to GEMM1's
 *     outputs before the activation
 * @param routingReplay I16 [T, k], receives the chosen expert ids
 * @param topkIds I32 [T, k], receives the chosen expert ids
 * @param topkWeights F32 [T, k], receives their weights
 * @param skew what the caller knows of the routing's distribution; affects speed alone
 */
public record MoeCall(
    Routing routing,
    HiddenStates hiddenStates,
    MoeOutput output,
    Optional<Tensor> perTokenScale,
    Optional<Tensor> gemm1LoraDelta,
    Optional<Tensor> routingReplay,
    Optional<Tensor> topkIds,
    Optional<Tensor> topkWeights,
    RoutingSkew skew) {

  /** Refuses nulls. */
  public MoeCall {
    Arguments.notNull("routing", routing);
    Arguments.notNull("hiddenStates", hiddenStates);
    Arguments.notNull("output", output);
    Arguments.notNull("perTokenScale", perTokenScale);
    Arguments.notNull("gemm1LoraDelta", gemm1LoraDelta);
    Arguments.notNull("routingReplay", routingReplay);
    Arguments.notNull("topkIds", topkIds);
    Arguments.notNull("topkWeights", topkWeights);
    Arguments.notNull("skew", skew);
  }

  /** A call without options. */
  public static MoeCall of(Routing routing, HiddenStates hiddenStates, MoeOutput output) {
    return new MoeCall(
        routing,
        hiddenStates,
        output,
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        RoutingSkew.UNKNOWN);
  }

  /** T. */
  public long tokens() {
    return hiddenStates.codes().spec().dim(0);
  }

  /** This call with a scale for each token's input. */
  public MoeCall withPerTokenScale(Tensor scale) {
    return new MoeCall(
        routing,
        hiddenStates,
        output,
        Optional.of(Arguments.notNull("perTokenScale", scale)),
        gemm1LoraDelta,
        routingReplay,
        topkIds,
        topkWeights,
        skew);
  }

  /** This call with a LoRA delta for GEMM1. */
  public MoeCall withGemm1LoraDelta(Tensor delta) {
    return new MoeCall(
        routing,
        hiddenStates,
        output,
        perTokenScale,
        Optional.of(Arguments.notNull("gemm1LoraDelta", delta)),
        routingReplay,
        topkIds,
        topkWeights,
        skew);
  }

  /** This call with a place for the chosen ids as I16, for replay. */
  public MoeCall withRoutingReplay(Tensor replay) {
    return new MoeCall(
        routing,
        hiddenStates,
        output,
        perTokenScale,
        gemm1LoraDelta,
        Optional.of(Arguments.notNull("routingReplay", replay)),
        topkIds,
        topkWeights,
        skew);
  }

  /** This call with places for the chosen ids and weights. */
  public MoeCall withTopk(Tensor ids, Tensor weights) {
    return new MoeCall(
        routing,
        hiddenStates,
        output,
        perTokenScale,
        gemm1LoraDelta,
        routingReplay,
        Optional.of(Arguments.notNull("topkIds", ids)),
        Optional.of(Arguments.notNull("topkWeights", weights)),
        skew);
  }

  /** This call with a known distribution of its routing. */
  public MoeCall withSkew(RoutingSkew skew) {
    return new MoeCall(
        routing,
        hiddenStates,
        output,
        perTokenScale,
        gemm1LoraDelta,
        routingReplay,
        topkIds,
        topkWeights,
        skew);
  }
}
