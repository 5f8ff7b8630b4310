package io.moe4j.autotune;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSortedMap;
import com.google.common.collect.ImmutableSortedSet;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.search.BucketResult;
import io.moe4j.autotune.search.TacticTiming;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.atomic.LongAdder;

/** Collects {@link TunerStatistics}. Safe from any thread; {@link #miss} is for the hot path. */
final class StatisticsCollector {
  private final LongAdder misses = new LongAdder();
  private final Set<TuningKey> uncovered = new TreeSet<>();
  private final Map<String, Integer> tuned = new HashMap<>();
  private final Map<TuningKey, String> failed = new HashMap<>();
  private final Map<String, String> failedTactics = new HashMap<>();
  private final Map<TuningKey, String> chosen = new HashMap<>();
  private final Set<String> problems = new LinkedHashSet<>();
  private long tacticsTried;
  private long launches;

  void miss() {
    misses.increment();
  }

  /** True the first time that a shape is uncovered. */
  synchronized boolean uncovered(TuningKey bucket) {
    return uncovered.add(bucket);
  }

  /** True the first time that this happens. */
  synchronized boolean problem(String what) {
    return problems.add(what);
  }

  synchronized void add(BucketResult result) {
    TuningKey key = result.key();
    String operation = key.family().operation();
    launches += result.launches();
    for (TacticTiming timing : result.timings()) {
      if (timing.samples() > 0) {
        tacticsTried++;
      }
      if (timing.outcome().isFailure()) {
        failedTactics.put(
            operation + "/" + timing.runner() + "/" + timing.tactic(), timing.detail());
      }
    }
    if (result.decisions().isEmpty()) {
      failed.put(key, result.status() + ": " + result.detail());
      return;
    }
    tuned.merge(operation, 1, Integer::sum);
    result
        .decisions()
        .forEach(
            (skew, decision) -> chosen.put(key.withSkew(skew), decision.candidate().toString()));
  }

  synchronized TunerStatistics snapshot() {
    return new TunerStatistics(
        misses.sum(),
        ImmutableSortedSet.copyOf(uncovered),
        ImmutableSortedMap.copyOf(tuned),
        ImmutableSortedMap.copyOf(failed),
        tacticsTried,
        launches,
        ImmutableSortedMap.copyOf(failedTactics),
        ImmutableSortedMap.copyOf(chosen),
        ImmutableList.copyOf(problems));
  }

  synchronized void reset() {
    misses.reset();
    uncovered.clear();
    tuned.clear();
    failed.clear();
    failedTactics.clear();
    chosen.clear();
    problems.clear();
    tacticsTried = 0;
    launches = 0;
  }
}
