package io.moe4j.autotune;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSortedMap;
import com.google.common.collect.ImmutableSortedSet;
import io.moe4j.autotune.profile.TuningKey;
import java.util.Map;

/**
 * What a tuner has done so far.
 *
 * @param misses launches that no tuning covered
 * @param uncovered their shapes, in buckets
 * @param tuned buckets searched to a decision, complete or cut short, for each operation
 * @param failed buckets that could not be tuned, and why
 * @param tacticsTried tactics that were timed, over all buckets
 * @param launches launches that this took
 * @param failedTactics tactics that failed or were rejected, and why
 * @param chosen chosen tactic of each bucket tuned by this process
 * @param problems what went wrong with files, and stored tactics that no runner has
 */
public record TunerStatistics(
    long misses,
    ImmutableSortedSet<TuningKey> uncovered,
    ImmutableSortedMap<String, Integer> tuned,
    ImmutableSortedMap<TuningKey, String> failed,
    long tacticsTried,
    long launches,
    ImmutableSortedMap<String, String> failedTactics,
    ImmutableSortedMap<TuningKey, String> chosen,
    ImmutableList<String> problems) {

  /** The statistics for people. */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder();
    text.append("launches without a tuning: ").append(misses).append('\n');
    uncovered.forEach(key -> text.append("  ").append(key).append('\n'));
    tuned.forEach(
        (operation, count) ->
            text.append(operation).append(": ").append(count).append(" buckets tuned\n"));
    text.append("tactics timed: ").append(tacticsTried);
    text.append(", in ").append(launches).append(" launches\n");
    section(text, "chosen", chosen);
    section(text, "buckets that could not be tuned", failed);
    section(text, "tactics that failed", failedTactics);
    if (!problems.isEmpty()) {
      text.append("problems:\n");
      problems.forEach(problem -> text.append("  ").append(problem).append('\n'));
    }
    return text.toString();
  }

  private static void section(StringBuilder text, String title, Map<?, String> lines) {
    if (!lines.isEmpty()) {
      text.append(title).append(":\n");
      lines.forEach(
          (name, value) -> text.append("  ").append(name).append(": ").append(value).append('\n'));
    }
  }
}
