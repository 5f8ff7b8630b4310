package io.moe4j.autotune.search;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import io.moe4j.RoutingSkew;
import io.moe4j.autotune.profile.TuningKey;

/**
 * What the search of one bucket came to.
 *
 * @param key the bucket
 * @param status how it ended
 * @param detail why, for a status other than {@link Status#TUNED}
 * @param decisions the choice for each distribution, {@link RoutingSkew#UNKNOWN} being the blend of
 *     all; empty where nothing was chosen
 * @param timings each tactic, in the back end's order
 * @param copies copies of the inputs that launches rotated through
 * @param launches launches that it took
 */
public record BucketResult(
    TuningKey key,
    Status status,
    String detail,
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
    /** The default tactic cannot be measured, or is not to be trusted; nothing was chosen. */
    FAILED,
    /** Not enough memory, or no time at all; nothing was chosen. */
    SKIPPED
  }

  /** A result without a decision. */
  public static BucketResult none(TuningKey key, Status status, String detail) {
    return new BucketResult(key, status, detail, ImmutableMap.of(), ImmutableList.of(), 0, 0);
  }
}
