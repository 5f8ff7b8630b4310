package io.moe4j.autotune;

import com.google.common.collect.ImmutableList;
import io.moe4j.autotune.profile.TuningFamily;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.store.TunedEntry;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Optional;
import java.util.TreeMap;

/**
 * All tunings that are known for one device, by where they are from. Which token counts a tuning
 * serves was decided when it was made, so that a look-up needs no agreement on buckets. Safe from
 * any thread; not for the hot path.
 */
final class Tunings {
  private final Map<TuningSource, Map<TuningFamily, NavigableMap<Long, TunedEntry>>> bySource =
      new EnumMap<>(TuningSource.class);

  /**
   * A tuning that answers.
   *
   * @param covered whether it was made for this token count, and is not just the nearest
   */
  record Found(TunedEntry entry, TuningSource source, boolean covered) {}

  synchronized void put(TuningSource source, TunedEntry entry) {
    bySource
        .computeIfAbsent(source, key -> new HashMap<>())
        .computeIfAbsent(entry.key().family(), key -> new TreeMap<>())
        .put(entry.key().tokens(), entry);
  }

  /** The tuning of exactly this key, from the first source that has one. */
  synchronized Optional<Found> get(TuningKey key) {
    for (TuningSource source : bySource.keySet()) {
      TunedEntry entry = of(source, key.family()).get(key.tokens());
      if (entry != null) {
        return Optional.of(new Found(entry, source, true));
      }
    }
    return Optional.empty();
  }

  /**
   * The tunings that answer for a token count, family by family and source by source: those that
   * serve it or, where there are none in any family, the nearest ones.
   */
  synchronized ImmutableList<Found> find(List<TuningFamily> families, long tokens) {
    ImmutableList<Found> covering = find(families, tokens, true);
    return covering.isEmpty() ? find(families, tokens, false) : covering;
  }

  private ImmutableList<Found> find(List<TuningFamily> families, long tokens, boolean covered) {
    ImmutableList.Builder<Found> found = ImmutableList.builder();
    for (TuningFamily family : families) {
      for (TuningSource source : bySource.keySet()) {
        of(source, family).values().stream()
            .filter(entry -> entry.serves().contains(tokens) == covered)
            .min(Comparator.comparingDouble(entry -> distance(entry.key().tokens(), tokens)))
            .ifPresent(entry -> found.add(new Found(entry, source, covered)));
      }
    }
    return found.build();
  }

  private static double distance(long a, long b) {
    return Math.abs(Math.log((double) a / b));
  }

  private NavigableMap<Long, TunedEntry> of(TuningSource source, TuningFamily family) {
    return bySource.getOrDefault(source, Map.of()).getOrDefault(family, new TreeMap<>());
  }

  /** Whether anything is known of an operation. */
  synchronized boolean knows(String operation) {
    return bySource.values().stream()
        .flatMap(families -> families.keySet().stream())
        .anyMatch(family -> family.operation().equals(operation));
  }

  /** Every tuning; of those with one key the one from the first source. */
  synchronized ImmutableList<TunedEntry> all() {
    TreeMap<TuningKey, TunedEntry> all = new TreeMap<>();
    for (Map<TuningFamily, NavigableMap<Long, TunedEntry>> families : bySource.values()) {
      families.values().stream()
          .flatMap(entries -> entries.values().stream())
          .forEach(entry -> all.putIfAbsent(entry.key(), entry));
    }
    return ImmutableList.copyOf(all.values());
  }

  synchronized void clear() {
    bySource.clear();
  }
}
