package io.moe4j.autotune.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Optional;
import org.junit.jupiter.api.Test;

class TunedEntryTest {
  private final TunedEntry complete = Entries.entry("a", 16, "fast");
  private final TunedEntry provisional = Entries.cutShort(complete);

  @Test
  void aCompleteTuningIsTheLastWord() {
    assertTrue(complete.improves(Optional.empty()));
    assertTrue(complete.improves(Optional.of(provisional)));
    assertTrue(complete.improves(Optional.of(complete)), "measured anew");
    assertFalse(provisional.improves(Optional.of(complete)));
  }

  @Test
  void ofProvisionalTuningsTheOneThatGainsMoreStays() {
    TunedEntry keptDefault =
        new TunedEntry(
            provisional.key(), provisional.serves(), "layer", "default", 100, 100, 0.01, false);
    assertTrue(keptDefault.improves(Optional.empty()));
    assertTrue(provisional.improves(Optional.of(keptDefault)));
    assertFalse(keptDefault.improves(Optional.of(provisional)));
    assertFalse(provisional.improves(Optional.of(provisional)));
  }

  @Test
  void saysHowMuchItGains() {
    assertEquals(2, complete.speedup());
  }
}
