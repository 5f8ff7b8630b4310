package io.moe4j.autotune.profile;

import io.moe4j.MoeCall;
import io.moe4j.MoeOutput;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMode;
import io.moe4j.RoutingSkew;

/**
 * What of a call, besides its number of tokens, decides how fast a tactic is: the code paths that
 * it takes. Calls of one kind share their tunings.
 *
 * @param routing where experts and weights come from; precomputed routing is never timed with a
 *     routing method, nor the other way round
 * @param hiddenStates format of the input as given
 * @param finalized whether the output is combined for each token
 * @param gemm1LoraDelta whether GEMM1's epilogue reads a LoRA delta
 * @param perTokenScale whether GEMM1's epilogue reads a scale for each token
 * @param skew what the caller knows of the routing's distribution
 */
public record CallKind(
    RoutingMode routing,
    QuantFormat hiddenStates,
    boolean finalized,
    boolean gemm1LoraDelta,
    boolean perTokenScale,
    RoutingSkew skew) {

  private static final int ROUTINGS = RoutingMode.values().length;
  private static final int FORMATS = QuantFormat.values().length;
  private static final int SKEWS = RoutingSkew.values().length;

  /** How many kinds there are: {@link #indexOf} is below. */
  public static final int COUNT = ROUTINGS * FORMATS * SKEWS * 8;

  /** BF16 input, combined output, no options, unknown skew. */
  public static CallKind of(RoutingMode routing) {
    return new CallKind(routing, QuantFormat.BF16, true, false, false, RoutingSkew.UNKNOWN);
  }

  /** The kind of a call. */
  public static CallKind of(MoeCall call) {
    return new CallKind(
        call.routing().mode(),
        call.hiddenStates().format(),
        call.output() instanceof MoeOutput.Finalized,
        call.gemm1LoraDelta().isPresent(),
        call.perTokenScale().isPresent(),
        call.skew());
  }

  /**
   * A number that differs for calls of different kinds. Allocates nothing. Means nothing in another
   * process, so that an ordinal will do.
   */
  @SuppressWarnings("EnumOrdinal")
  public static int indexOf(MoeCall call) {
    int index = call.routing().mode().ordinal();
    index = index * FORMATS + call.hiddenStates().format().ordinal();
    index = index * SKEWS + call.skew().ordinal();
    index = index * 2 + (call.output() instanceof MoeOutput.Finalized ? 1 : 0);
    index = index * 2 + (call.gemm1LoraDelta().isPresent() ? 1 : 0);
    return index * 2 + (call.perTokenScale().isPresent() ? 1 : 0);
  }

  /** This kind for routing of another distribution. */
  public CallKind withSkew(RoutingSkew skew) {
    return new CallKind(routing, hiddenStates, finalized, gemm1LoraDelta, perTokenScale, skew);
  }

  /** This kind with input of another format. */
  public CallKind withHiddenStates(QuantFormat format) {
    return new CallKind(routing, format, finalized, gemm1LoraDelta, perTokenScale, skew);
  }
}
