package io.moe4j.autotune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.MoeDevice;
import io.moe4j.RoutingMode;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.search.BucketResult;
import io.moe4j.autotune.search.BucketResult.Status;
import io.moe4j.autotune.store.BlockedTactic;
import io.moe4j.autotune.store.Blocklist;
import io.moe4j.autotune.store.Environment;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeLaunch;
import io.moe4j.autotune.testing.FakeTactic;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Tactics that are defective, blocked, unknown to this build or not valid for a shape are never
 * used.
 */
class UnusableTacticsTest {
  @TempDir private Path folder;

  @Test
  void defectiveTacticsAreBlockedForThisAndLaterProcesses() {
    FakeGpu gpu =
        new FakeGpu(
            FakeTactic.of("default", 100),
            FakeTactic.of("wrong", 10).behaving(FakeTactic.Behaviour.WRONG),
            FakeTactic.of("faulting", 10).behaving(FakeTactic.Behaviour.FAULTING));
    try (Tuned tuned = new Tuned(gpu, o -> o.cacheDirectory(folder))) {
      TuningReport report = tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals(2, report.blocked().size());
      assertEquals(
          Set.of(1L),
          gpu.launches().stream()
              .filter(launch -> launch.tactic().equals("wrong"))
              .map(FakeLaunch::tokens)
              .collect(Collectors.toSet()),
          "it was found out in the first bucket");
      assertEquals(1, gpu.launches("faulting"));
    }
    FakeGpu later = new FakeGpu(FakeTactic.of("default", 100), FakeTactic.of("wrong", 10));
    try (Tuned tuned = new Tuned(later, o -> o.cacheDirectory(folder))) {
      tuned.tuner.tune(tuned.layer, CallKind.of(RoutingMode.UNPACKED), TuningOptions.DEFAULT);
      assertEquals(0, later.launches("wrong"));
    }
  }

  @Test
  void aTacticThatBreaksTheDeviceIsBlamedAloneAndEndsTheTuning() {
    FakeTactic breaking = FakeTactic.of("breaking", 10);
    FakeGpu gpu =
        new FakeGpu(
            FakeTactic.of("default", 100),
            FakeTactic.of("before", 50),
            breaking.behaving(FakeTactic.Behaviour.BREAKING),
            FakeTactic.of("after", 20));
    try (Tuned tuned = new Tuned(gpu, o -> o.cacheDirectory(folder))) {
      TuningReport report = tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals(
          List.of("breaking"), report.blocked().stream().map(BlockedTactic::tactic).toList());
      assertEquals(Status.FAILED, report.results().get(0).status());
      assertTrue(
          report.results().get(0).detail().contains("the device is broken"), report::toString);
      assertEquals(7, report.results().size());
      for (BucketResult result : report.results().subList(1, 7)) {
        assertEquals(Status.SKIPPED, result.status());
      }
      assertEquals(0, tuned.tuner.exportPlan(tuned.device).entries().size());
    }
    // The next process has a device that works, and knows what not to try.
    try (Tuned later = new Tuned(gpu, o -> o.cacheDirectory(folder))) {
      later.tuner.tune(later.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals("after", later.run(RoutingMode.PACKED, 16));
      assertEquals(1, gpu.launches("breaking"));
    }
  }

  @Test
  void aBlockedTacticIsNotUsedEvenIfATuningNamesIt() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals("few", tuned.run(RoutingMode.PACKED, 4));
      tuned
          .tuner
          .blocklist(tuned.device)
          .add(new BlockedTactic("fused_moe", "layer", "few", "fault"));
      assertEquals(TuningSource.DEFAULT, tuned.covered(4).source());
      assertEquals("default", tuned.run(RoutingMode.PACKED, 4), "from now on");
    }
  }

  @Test
  void aBlocklistsFileCountsWhereItsEnvironmentIsThisOne() {
    Path here = folder.resolve("here.json");
    Path elsewhere = folder.resolve("elsewhere.json");
    Path unknown = folder.resolve("unknown.json");
    Blocklist list = new Blocklist();
    list.add(new BlockedTactic("fused_moe", "layer", "few", "SIGSEGV"));
    try (MoeDevice device = Tuned.threeTactics().open()) {
      Environment environment = Environment.of(device);
      list.save(here, environment);
      list.save(elsewhere, with(environment, "device", "other"));
      list.save(unknown, with(environment, "driver", Environment.UNKNOWN));
    }
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o.blocklist(here))) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals("default", tuned.run(RoutingMode.PACKED, 1));
      assertEquals(0, tuned.gpu.launches("few"));
    }
    Path missing = folder.resolve("missing.json");
    try (Tuned tuned =
        new Tuned(
            Tuned.threeTactics(),
            o -> o.blocklist(elsewhere).blocklist(unknown).blocklist(missing))) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals("few", tuned.run(RoutingMode.PACKED, 1));
      List<String> problems = tuned.tuner.statistics().problems();
      assertEquals(3, problems.size(), problems::toString);
      assertTrue(problems.get(0).contains("device is other there"), problems::toString);
      assertTrue(problems.get(1).contains("driver is unknown there"), problems::toString);
      assertTrue(problems.get(2).contains("missing.json"), problems::toString);
    }
  }

  private static Environment with(Environment environment, String field, String value) {
    Map<String, String> fields = new HashMap<>(environment.fields());
    fields.put(field, value);
    return Environment.of(fields);
  }

  @Test
  void aTacticThatThisBuildDoesNotHaveIsAMiss() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o.cacheDirectory(folder))) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
    }
    FakeGpu without = new FakeGpu(FakeTactic.of("default", 10), FakeTactic.of("many", 10));
    try (Tuned tuned = new Tuned(without, o -> o.cacheDirectory(folder))) {
      assertEquals("default", tuned.run(RoutingMode.PACKED, 4));
      assertEquals("many", tuned.run(RoutingMode.PACKED, 64));
      assertEquals(1, tuned.tuner.statistics().misses());
      assertTrue(
          tuned.tuner.statistics().problems().get(0).contains("no runner offers it"),
          () -> tuned.tuner.statistics().toString());
    }
  }

  @Test
  void aTacticIsOnlyUsedWhereItIsValid() {
    FakeGpu gpu = new FakeGpu();
    FakeTactic general = FakeTactic.of("default", 100);
    FakeTactic even = FakeTactic.of("even", 10);
    gpu.tactics(tokens -> tokens % 2 == 0 ? List.of(general, even) : List.of(general));
    try (Tuned tuned = new Tuned(gpu, o -> o)) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals("even", tuned.run(RoutingMode.PACKED, 16));
      assertEquals("default", tuned.run(RoutingMode.PACKED, 17));
      assertEquals("even", tuned.run(RoutingMode.PACKED, 18));
    }
  }
}
