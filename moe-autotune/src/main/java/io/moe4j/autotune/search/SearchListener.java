package io.moe4j.autotune.search;

import io.moe4j.autotune.profile.TuningKey;
import java.time.Duration;

/** Hears how tuning goes on, on the thread that tunes. */
public interface SearchListener {
  /** Hears nothing. */
  SearchListener NONE = new SearchListener() {};

  /** A bucket's search begins. */
  default void bucketStarted(TuningKey key, int bucket, int buckets) {}

  /**
   * A tactic has got another sample, or was dropped.
   *
   * @param progress part of the bucket's tactics that are done with the first round
   * @param best fastest so far
   * @param speedup how many times as fast as the default that is
   * @param remaining time left in the budget
   */
  default void tacticMeasured(
      TuningKey key, double progress, String best, double speedup, Duration remaining) {}

  /** A bucket is done; its result is already kept. */
  default void bucketFinished(BucketResult result) {}
}
