package io.moe4j.autotune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.RoutingMode;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.search.BucketResult.Status;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeTactic;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What tuning leaves for later starts, other processes and other threads. */
class TuningCacheTest {
  @TempDir private Path folder;

  @Test
  void aSecondStartProfilesNothing() {
    try (Tuned first = new Tuned(Tuned.threeTactics(), o -> o.cacheDirectory(folder))) {
      first.tuner.tune(first.layer, Tuned.PACKED, TuningOptions.DEFAULT);
    }
    try (Tuned second = new Tuned(Tuned.threeTactics(), o -> o.cacheDirectory(folder))) {
      assertEquals(TuningSource.CACHED, second.covered(4).source());
      try (TuningScope scope = second.tuner.tuning(TuningOptions.DEFAULT)) {
        assertTrue(scope.profiles());
        assertEquals("few", second.run(RoutingMode.PACKED, 4));
      }
      TuningReport report = second.tuner.tune(second.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals(0, report.launches());
      assertEquals(7, report.settled().size());
      assertEquals(1, second.gpu.launches().size());
    }
  }

  @Test
  void whatAnotherProcessFinishedMeanwhileIsNotMeasuredAgain() {
    try (Tuned early = new Tuned(Tuned.threeTactics(), o -> o.cacheDirectory(folder))) {
      assertEquals("default", early.run(RoutingMode.PACKED, 4));
      try (Tuned other = new Tuned(Tuned.threeTactics(), o -> o.cacheDirectory(folder))) {
        other.tuner.tune(other.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      }
      TuningReport report = early.tuner.tune(early.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals(0, report.launches());
      assertEquals("few", early.run(RoutingMode.PACKED, 4));
    }
  }

  @Test
  void threadsThatTuneTheSameMeasureItOnce() throws Exception {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      ExecutorService pool = Executors.newFixedThreadPool(4);
      List<Future<TuningReport>> reports =
          pool.invokeAll(
              Collections.nCopies(
                  4, () -> tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT)));
      int searched = 0;
      for (Future<TuningReport> report : reports) {
        searched += report.get().results().size();
        assertEquals(7, report.get().results().size() + report.get().settled().size());
      }
      pool.shutdown();
      assertEquals(7, searched);
      assertEquals("few", tuned.run(RoutingMode.PACKED, 4));
    }
  }

  @Test
  void incrementalTuningAddsToTheCache() {
    TuningOptions small = TuningOptions.DEFAULT.withBuckets(TokenBuckets.of(1, 2));
    TuningOptions more = TuningOptions.DEFAULT.withBuckets(TokenBuckets.of(2, 4));
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o.cacheDirectory(folder))) {
      assertEquals(2, tuned.tuner.tune(tuned.layer, Tuned.PACKED, small).results().size());
    }
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o.cacheDirectory(folder))) {
      TuningReport report = tuned.tuner.tune(tuned.layer, Tuned.PACKED, more);
      assertEquals(1, report.results().size());
      assertEquals(1, report.settled().size());
      assertEquals(
          List.of(1L, 2L, 4L),
          tuned.tuner.exportPlan(tuned.device).entries().keySet().stream()
              .map(TuningKey::tokens)
              .distinct()
              .sorted()
              .toList());
    }
  }

  @Test
  void aFailedSweepKeepsNothing() {
    FakeGpu gpu = new FakeGpu(FakeTactic.of("default", 10).behaving(FakeTactic.Behaviour.FAULTING));
    try (Tuned tuned = new Tuned(gpu, o -> o.cacheDirectory(folder))) {
      TuningReport report = tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      report.results().forEach(result -> assertEquals(Status.FAILED, result.status()));
      assertEquals(7, tuned.tuner.statistics().failed().size());
      assertEquals(0, tuned.tuner.exportPlan(tuned.device).entries().size());
    }
    assertEquals(false, Files.exists(folder.resolve("v1")));
  }

  @Test
  void aCacheThatCannotBeWrittenIsSurvivedAndSaidOnce() {
    try (Tuned tuned =
        new Tuned(Tuned.threeTactics(), o -> o.cacheDirectory(Path.of("/proc/moe4j")))) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals("few", tuned.run(RoutingMode.PACKED, 4));
      assertEquals(1, tuned.tuner.statistics().problems().size());
      assertTrue(
          tuned.tuner.statistics().problems().get(0).contains("/proc/moe4j"),
          () -> tuned.tuner.statistics().toString());
    }
  }
}
