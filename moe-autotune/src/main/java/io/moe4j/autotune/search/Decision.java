package io.moe4j.autotune.search;

import io.moe4j.autotune.profile.Candidate;

/**
 * The choice for one distribution of routing, or for a blend of them.
 *
 * @param candidate the chosen one
 * @param nanos its time: the default's, times the ratio of both that decided. A median of its own
 *     may be of a slower state of the machine than the default's
 * @param defaultNanos the default's time
 * @param noise standard error of the ratio of both
 * @param reason why it and not another, in a few words
 */
public record Decision(
    Candidate candidate, double nanos, double defaultNanos, double noise, String reason) {

  /** How many times as fast as the default. */
  public double speedup() {
    return defaultNanos / nanos;
  }
}
