package io.moe4j.autotune.store;

import com.google.common.collect.ImmutableSortedMap;
import io.moe4j.autotune.profile.TokenRange;
import io.moe4j.autotune.profile.TuningFamily;
import io.moe4j.autotune.profile.TuningKey;
import java.util.Map;

/** Tunings made up for tests. */
final class Entries {
  static final Environment HERE =
      Environment.of(Map.of("device", "GPU", "driver", "13", "abi", "1", "kernels", "k"));

  private Entries() {}

  static TuningKey key(String name, long tokens) {
    return new TuningKey(
        new TuningFamily("op", ImmutableSortedMap.of("device", "GPU", "name", name)), tokens);
  }

  static TunedEntry entry(String name, long tokens, String tactic) {
    return new TunedEntry(
        key(name, tokens),
        new TokenRange(tokens, 2 * tokens),
        "layer",
        tactic,
        50,
        100,
        0.01,
        true);
  }

  static TunedEntry cutShort(TunedEntry entry) {
    return new TunedEntry(
        entry.key(),
        entry.serves(),
        entry.runner(),
        entry.tactic(),
        entry.nanos(),
        entry.defaultNanos(),
        entry.noise(),
        false);
  }
}
