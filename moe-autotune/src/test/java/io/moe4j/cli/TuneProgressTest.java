package io.moe4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableSortedMap;
import io.moe4j.RoutingSkew;
import io.moe4j.autotune.profile.TuningFamily;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.search.BucketResult;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What people see while they wait. */
class TuneProgressTest {
  private static final String CLEAR_LINE = "\r\u001b[K";

  private final StringWriter out = new StringWriter();

  @Test
  void aTerminalHasABarThatGrowsInOneLine() {
    TuneProgress progress = new TuneProgress(new PrintWriter(out), true, 2);
    progress.sweepStarted("routed experts, packed");
    progress.bucketStarted(key(1), 0, 2);
    progress.tacticMeasured(key(1), 0.5, "fast", 1.25, Duration.ofSeconds(41));
    progress.bucketFinished(skipped(1));
    progress.bucketStarted(key(16), 1, 2);
    progress.tacticMeasured(key(16), 1, "fast", 1.5, Duration.ofMillis(2900));
    List<String> shown = List.of(out.toString().split(CLEAR_LINE.replace("[", "\\[")));
    // An eighth of two sweeps of two buckets, and then a half.
    assertEquals("tuning routed experts, packed", shown.get(1).strip());
    assertEquals(
        "###--------------------- 1 token, 50% of the tactics, best fast 1.25x, 41 s left",
        shown.get(2));
    assertEquals("  1 token: skipped: no memory", shown.get(3).stripTrailing());
    assertEquals(
        "############------------ 16 tokens, 100% of the tactics, best fast 1.50x, 2 s left",
        shown.get(4));
    assertEquals(2, out.toString().lines().filter(line -> line.endsWith("left")).count());
  }

  @Test
  void elsewhereABucketIsALine() {
    TuneProgress progress = new TuneProgress(new PrintWriter(out), false, 1);
    progress.sweepStarted("routed experts, packed");
    progress.bucketStarted(key(1), 0, 1);
    progress.tacticMeasured(key(1), 0.5, "fast", 1.25, Duration.ofSeconds(41));
    progress.bucketFinished(skipped(1));
    assertEquals(
        List.of("tuning routed experts, packed", "  1 token: skipped: no memory"),
        out.toString().lines().toList());
    assertTrue(out.toString().chars().noneMatch(c -> c == '\r' || c == '\u001b'));
  }

  private static BucketResult skipped(long tokens) {
    return BucketResult.skipped(key(tokens), RoutingSkew.UNKNOWN, "no memory");
  }

  private static TuningKey key(long tokens) {
    return new TuningKey(new TuningFamily("op", ImmutableSortedMap.of()), tokens);
  }
}
