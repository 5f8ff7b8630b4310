package io.moe4j.autotune.search;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import io.moe4j.RoutingSkew;
import io.moe4j.autotune.profile.TuningKey;
import java.util.Optional;

/**
 * What the search of one bucket came to.
 *
 * @param key the bucket
 * @param status how it ended
 * @param detail why, for a status other than {@link Status#TUNED}
 * @param skew what the key says of the routing's distribution
 * @param decisions the choice for {@code skew} and, as by-products among the finalists, for each
 *     profiled distribution by itself; empty where nothing was chosen
 * @param timings each tactic, in the back end's order
 * @param copies copies of the inputs that launches rotated through
 * @param launches launches that it took
 */
public record BucketResult(
    TuningKey key,
    Status status,
    String detail,
    RoutingSkew skew,
    ImmutableMap<RoutingSkew, Decision> decisions,
    ImmutableList<TacticTiming> timings,
    int copies,
    long launches) {

  /** How a search ended. */
  public enum Status {
    /** To the end. */
    TUNED,
    /** The budget ended first; the decision is the best so far. */
    CUT_SHORT,
    /**
     * The default tactic cannot be measured or is not to be trusted, or a tactic broke the device;
     * nothing was chosen.
     */
    FAILED,
    /** No memory, no time, no process to try tactics in, or a broken device; nothing was chosen. */
    SKIPPED
  }

  /** A bucket that was not searched. */
  public static BucketResult skipped(TuningKey key, RoutingSkew skew, String detail) {
    return none(key, skew, Status.SKIPPED, detail);
  }

  /** A result without a decision. */
  static BucketResult none(TuningKey key, RoutingSkew skew, Status status, String detail) {
    return new BucketResult(key, status, detail, skew, ImmutableMap.of(), ImmutableList.of(), 0, 0);
  }

  /** The choice for the key; empty where nothing was chosen. */
  public Optional<Decision> decision() {
    return Optional.ofNullable(decisions.get(skew));
  }
}
