package io.moe4j.autotune;

import com.google.common.collect.ImmutableList;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.search.BucketResult;
import io.moe4j.autotune.search.Decision;
import io.moe4j.autotune.store.BlockedTactic;
import io.moe4j.autotune.store.Environment;
import java.time.Duration;
import java.util.Comparator;
import java.util.Locale;

/**
 * What a call of {@link Autotuner#tune} did.
 *
 * @param environment where
 * @param results the searched buckets, in the order of the search, with every tactic's times
 * @param settled buckets that were tuned before and not searched again
 * @param blocked tactics that were found defective
 * @param elapsed how long it took
 */
public record TuningReport(
    Environment environment,
    ImmutableList<BucketResult> results,
    ImmutableList<TuningKey> settled,
    ImmutableList<BlockedTactic> blocked,
    Duration elapsed) {

  /** Launches that it took. */
  public long launches() {
    return results.stream().mapToLong(BucketResult::launches).sum();
  }

  /** The report for people. */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder();
    for (BucketResult result : results) {
      text.append(result.key()).append(": ").append(result.status());
      if (!result.detail().isEmpty()) {
        text.append(", ").append(result.detail());
      }
      text.append('\n');
      result.decisions().entrySet().stream()
          .sorted(Comparator.comparing(entry -> entry.getKey()))
          .forEach(
              entry -> {
                Decision decision = entry.getValue();
                text.append(
                    String.format(
                        Locale.ROOT,
                        "  %-8s %s %.1f us, default %.1f us (%s)%n",
                        entry.getKey().name().toLowerCase(Locale.ROOT),
                        decision.candidate(),
                        decision.nanos() / 1e3,
                        decision.defaultNanos() / 1e3,
                        decision.reason()));
              });
    }
    settled.forEach(key -> text.append(key).append(": tuned before\n"));
    blocked.forEach(
        tactic ->
            text.append("blocked ")
                .append(tactic.tactic())
                .append(": ")
                .append(tactic.reason())
                .append('\n'));
    return text.toString();
  }
}
