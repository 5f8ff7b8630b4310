package io.moe4j.autotune.store;

import io.moe4j.autotune.profile.TokenRange;
import io.moe4j.autotune.profile.TuningKey;
import java.util.Optional;

/**
 * One finished tuning.
 *
 * @param key what was tuned
 * @param serves token counts that it answers for; beyond the buckets the nearest one does
 * @param runner name of the chosen runner
 * @param tactic name of the chosen tactic
 * @param nanos its time
 * @param defaultNanos the default's time in the same search
 * @param noise standard error of the ratio of both
 * @param complete false if the time ended the search before each tactic had its turn and the last
 *     ones their passes, or if this is a by-product of another search; launches use it, and tuning
 *     takes such a bucket up again
 */
public record TunedEntry(
    TuningKey key,
    TokenRange serves,
    String runner,
    String tactic,
    long nanos,
    long defaultNanos,
    double noise,
    boolean complete) {

  /** This tuning under another key. */
  public TunedEntry withKey(TuningKey key) {
    return new TunedEntry(key, serves, runner, tactic, nanos, defaultNanos, noise, complete);
  }

  /**
   * Whether this is to take the place of what is known of the key. A complete tuning is; of two
   * that are not, the one that gains more.
   */
  public boolean improves(Optional<TunedEntry> known) {
    return complete
        || known.isEmpty()
        || (!known.get().complete() && speedup() > known.get().speedup());
  }

  /** How many times as fast as the default. */
  public double speedup() {
    return nanos == 0 ? 1 : (double) defaultNanos / nanos;
  }
}
