package io.moe4j.autotune;

import com.google.common.base.Ticker;
import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import io.moe4j.InvalidArgumentException;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.profile.TuningFamily;
import io.moe4j.autotune.search.SearchBudget;
import io.moe4j.autotune.search.SearchListener;
import java.time.Duration;
import java.util.HashSet;
import java.util.Optional;
import java.util.Set;

/**
 * While it is open, launches of its thread are tuned. Scopes nest; the inner one has the last word
 * and gives it back when it is closed. Confined to the thread that opened it.
 */
public final class TuningScope implements AutoCloseable {
  private static final Duration UNLIMITED = Duration.ofSeconds(Long.MAX_VALUE);

  private final TuningScopes scopes;
  private final Optional<TuningScope> outer;
  private final Thread owner = Thread.currentThread();
  private final boolean profile;
  private final Optional<TokenBuckets> buckets;
  private final Optional<TokenBuckets.Rounding> rounding;
  private final ImmutableSet<String> skippedOperations;
  private final SearchBudget budget;
  private final SearchListener listener;
  private final Set<TuningFamily> attended = new HashSet<>();
  private boolean open = true;

  TuningScope(
      TuningScopes scopes, Optional<TuningScope> outer, TuningOptions options, Ticker ticker) {
    this.scopes = scopes;
    this.outer = outer;
    this.profile = options.profile().or(() -> outer.map(TuningScope::profiles)).orElse(true);
    this.buckets = options.buckets().or(() -> outer.flatMap(scope -> scope.buckets));
    this.rounding = options.rounding().or(() -> outer.flatMap(scope -> scope.rounding));
    this.skippedOperations =
        Sets.union(
                options.skippedOperations(),
                outer.map(scope -> scope.skippedOperations).orElse(ImmutableSet.of()))
            .immutableCopy();
    this.budget =
        options
            .budget()
            .map(limit -> new SearchBudget(ticker, limit))
            .or(() -> outer.map(TuningScope::budget))
            .orElseGet(() -> new SearchBudget(ticker, UNLIMITED));
    this.listener =
        options.listener().or(() -> outer.map(TuningScope::listener)).orElse(SearchListener.NONE);
  }

  /** Whether uncovered shapes are profiled. */
  public boolean profiles() {
    return profile;
  }

  /** Whether an operation is left alone. */
  public boolean skips(String operation) {
    return skippedOperations.contains(operation);
  }

  /** The token counts to profile, given those that apply without a scope. */
  public TokenBuckets buckets(TokenBuckets unscoped) {
    TokenBuckets chosen = buckets.orElse(unscoped);
    return rounding.map(chosen::withRounding).orElse(chosen);
  }

  SearchBudget budget() {
    return budget;
  }

  SearchListener listener() {
    return listener;
  }

  Optional<TuningScope> outer() {
    return outer;
  }

  /** True once for each family: its uncovered buckets are looked for once in a scope. */
  boolean attend(TuningFamily family) {
    return attended.add(family);
  }

  /** Ends the scope. Refused in another thread, and while an inner scope is open. */
  @Override
  public void close() {
    if (open) {
      if (Thread.currentThread() != owner) {
        throw new InvalidArgumentException(
            "scope", "one of thread " + owner.getName(), "one that this thread opened");
      }
      scopes.leave(this);
      open = false;
    }
  }
}
