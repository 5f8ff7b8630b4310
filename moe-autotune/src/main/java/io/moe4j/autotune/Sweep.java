package io.moe4j.autotune;

import com.google.common.base.Stopwatch;
import com.google.common.collect.ImmutableList;
import io.moe4j.DeviceException;
import io.moe4j.RoutingSkew;
import io.moe4j.autotune.isolation.ProbeException;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.profile.TunedOperation;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.search.BucketResult;
import io.moe4j.autotune.search.Decision;
import io.moe4j.autotune.search.Rehearsal;
import io.moe4j.autotune.search.TacticSearch;
import io.moe4j.autotune.store.BlockedTactic;
import io.moe4j.autotune.store.Blocklist;
import io.moe4j.autotune.store.TunedEntry;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Tunes the buckets of one operation that are not settled yet, small ones first, and keeps each
 * result as soon as it is there. Confined to one thread.
 *
 * <p>Buckets share what is left of the time budget in proportion to what they are going to cost.
 * One that takes more than its share is cut short, so that a budget that is too short leaves every
 * bucket something; a later sweep takes it up again and lets it have all the time that it needs, so
 * that sweep after sweep settles more of them.
 */
final class Sweep {
  /** A bucket that takes more of its share than this leaves too little for those that follow. */
  private static final double MAX_SHARES = 1.25;

  private static final long MIN_MEMORY_BUDGET = 256L << 20;

  private final DeviceTunings device;
  private final TunerOptions options;
  private final TuningScope scope;
  private final StatisticsCollector statistics;
  private final Rehearsal rehearsal;
  private final List<BucketResult> results = new ArrayList<>();
  private final List<TuningKey> settled = new ArrayList<>();
  private final List<BlockedTactic> blocked = new ArrayList<>();

  Sweep(
      DeviceTunings device,
      TunerOptions options,
      TuningScope scope,
      StatisticsCollector statistics,
      Rehearsal rehearsal) {
    this.device = device;
    this.options = options;
    this.scope = scope;
    this.statistics = statistics;
    this.rehearsal = rehearsal;
  }

  /** Tunes every variant's every bucket. */
  TuningReport run(TunedOperation operation) {
    Stopwatch stopwatch = Stopwatch.createStarted(options.ticker());
    device.measuring().lock();
    try {
      operation.variants().forEach(this::tuneVariant);
    } finally {
      device.measuring().unlock();
    }
    return report(stopwatch);
  }

  /** Tunes one bucket, settled or not. */
  void runBucket(TunedOperation operation, long tokens) {
    device.measuring().lock();
    try {
      tune(operation, search(operation), List.of(tokens), 0);
    } finally {
      device.measuring().unlock();
    }
  }

  private void tuneVariant(TunedOperation operation) {
    List<Long> unsettled = new ArrayList<>();
    operation
        .buckets()
        .values()
        .forEach(
            tokens -> {
              TuningKey key = new TuningKey(operation.family(), tokens);
              if (device.known(key).filter(TunedEntry::complete).isPresent()) {
                settled.add(key);
              } else {
                unsettled.add(tokens);
              }
            });
    TacticSearch search = search(operation);
    for (int i = 0; i < unsettled.size(); i++) {
      try {
        tune(operation, search, unsettled, i);
      } catch (ProbeException | DeviceException e) {
        skip(operation, unsettled.subList(i, unsettled.size()), e.getMessage());
        return;
      }
    }
  }

  /** What was to be tried elsewhere first is not tried here, nor anything on a broken device. */
  private void skip(TunedOperation operation, List<Long> buckets, String reason) {
    device.tell(reason);
    for (long tokens : buckets) {
      TuningKey key = new TuningKey(operation.family(), tokens);
      BucketResult result = BucketResult.skipped(key, operation.skew(), reason);
      add(result);
      scope.listener().bucketFinished(result);
    }
  }

  private void add(BucketResult result) {
    results.add(result);
    statistics.add(result);
  }

  private TacticSearch search(TunedOperation operation) {
    return new TacticSearch(
        operation,
        options.search(),
        scope.budget(),
        memoryBudget(operation),
        device.blocklist(),
        rehearsal,
        scope.listener());
  }

  private long memoryBudget(TunedOperation operation) {
    return options.memoryBudget() > 0
        ? options.memoryBudget()
        : Math.max(MIN_MEMORY_BUDGET, operation.device().info().memoryBytes() / 8);
  }

  private void tune(TunedOperation operation, TacticSearch search, List<Long> buckets, int bucket) {
    long tokens = buckets.get(bucket);
    TuningKey key = new TuningKey(operation.family(), tokens);
    boolean again = device.known(key).isPresent();
    double share = share(search, buckets.subList(bucket, buckets.size()));
    scope.listener().bucketStarted(key, bucket, buckets.size());
    Consumer<BucketResult> recorder = TunerEvents.INSTANCE.bucketBegins();
    BucketResult result = search.search(tokens, share, again ? 1 : Math.min(1, MAX_SHARES * share));
    recorder.accept(result);
    add(result);
    if (result.decision().isPresent()) {
      device.remember(result);
    }
    for (BlockedTactic tactic : Blocklist.generate(List.of(result)).tactics()) {
      block(tactic);
    }
    for (Map.Entry<RoutingSkew, Decision> decision : result.decisions().entrySet()) {
      device.keep(entry(operation.buckets(), result, decision.getKey(), decision.getValue()));
    }
    scope.listener().bucketFinished(result);
  }

  /** The part of the time left that the first of the buckets gets: half an equal one at least. */
  private static double share(TacticSearch search, List<Long> buckets) {
    double cost = buckets.stream().mapToDouble(search::expectedCost).sum();
    return Math.max(search.expectedCost(buckets.get(0)) / cost, 0.5 / buckets.size());
  }

  private static TunedEntry entry(
      TokenBuckets buckets, BucketResult result, RoutingSkew skew, Decision decision) {
    return new TunedEntry(
        result.key().withSkew(skew),
        buckets.served(result.key().tokens()),
        decision.candidate().runner().name(),
        decision.candidate().tactic().name(),
        Math.round(decision.nanos()),
        Math.round(decision.defaultNanos()),
        decision.noise(),
        skew == result.skew() && result.status() == BucketResult.Status.TUNED);
  }

  private void block(BlockedTactic tactic) {
    blocked.add(tactic);
    device.block(tactic);
  }

  private TuningReport report(Stopwatch stopwatch) {
    return new TuningReport(
        device.environment(),
        ImmutableList.copyOf(results),
        ImmutableList.copyOf(settled),
        ImmutableList.copyOf(blocked),
        stopwatch.elapsed());
  }
}
