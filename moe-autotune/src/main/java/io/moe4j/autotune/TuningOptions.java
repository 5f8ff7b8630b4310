package io.moe4j.autotune;

import com.google.common.collect.ImmutableSet;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.search.SearchListener;
import java.time.Duration;
import java.util.Optional;

/**
 * What a {@link TuningScope} does. What is not set is inherited from the scope around it, and from
 * the tuner where there is none. Immutable.
 *
 * @param profile whether uncovered shapes are profiled; by default, outermost, they are
 * @param buckets token counts to profile
 * @param rounding which bucket answers for counts between two
 * @param skippedOperations operations that are neither profiled nor looked up but run with their
 *     default; added to those of the scopes around
 * @param budget time for all profiling in the scope; by default, outermost, there is no limit
 * @param listener hears how it goes on
 */
public record TuningOptions(
    Optional<Boolean> profile,
    Optional<TokenBuckets> buckets,
    Optional<TokenBuckets.Rounding> rounding,
    ImmutableSet<String> skippedOperations,
    Optional<Duration> budget,
    Optional<SearchListener> listener) {

  /** Everything inherited. */
  public static final TuningOptions DEFAULT =
      new TuningOptions(
          Optional.empty(),
          Optional.empty(),
          Optional.empty(),
          ImmutableSet.of(),
          Optional.empty(),
          Optional.empty());

  /** Profiles, or only looks up. */
  public TuningOptions withProfile(boolean profile) {
    return new TuningOptions(
        Optional.of(profile), buckets, rounding, skippedOperations, budget, listener);
  }

  /** Profiles these token counts. */
  public TuningOptions withBuckets(TokenBuckets buckets) {
    return new TuningOptions(
        profile, Optional.of(buckets), rounding, skippedOperations, budget, listener);
  }

  /** Lets the bucket below or above answer for a count between two. */
  public TuningOptions withRounding(TokenBuckets.Rounding rounding) {
    return new TuningOptions(
        profile, buckets, Optional.of(rounding), skippedOperations, budget, listener);
  }

  /** Skips these operations. */
  public TuningOptions withSkippedOperations(String... operations) {
    return new TuningOptions(
        profile, buckets, rounding, ImmutableSet.copyOf(operations), budget, listener);
  }

  /** Ends profiling after so much time, with the best so far. */
  public TuningOptions withBudget(Duration budget) {
    return new TuningOptions(
        profile, buckets, rounding, skippedOperations, Optional.of(budget), listener);
  }

  /** Tells somebody how it goes on. */
  public TuningOptions withListener(SearchListener listener) {
    return new TuningOptions(
        profile, buckets, rounding, skippedOperations, budget, Optional.of(listener));
  }
}
