package io.moe4j.autotune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableList;
import io.moe4j.RoutingMode;
import io.moe4j.autotune.isolation.IsolationOptions;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.search.BucketResult;
import io.moe4j.autotune.search.BucketResult.Status;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeTactic;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Tuning with a tactic that would take the whole process with it. */
class IsolatedTuningTest {
  @TempDir private Path folder;

  @Test
  void aTacticThatSegfaultsIsBlockedWithItsSignalAndTheTuningGoesOn() {
    IsolationOptions isolation = isolation("default=CORRECT,deadly=SEGFAULT,fast=CORRECT");
    // Were it launched here, the test's own process would die.
    FakeGpu gpu =
        new FakeGpu(
            FakeTactic.of("default", 100),
            FakeTactic.of("deadly", 1).behaving(FakeTactic.Behaviour.SEGFAULT),
            FakeTactic.of("fast", 50));
    try (Tuned tuned =
        new Tuned(
            gpu,
            o -> o.isolation(isolation).cacheDirectory(folder).buckets(TokenBuckets.of(1, 16)))) {
      TuningReport report = tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals("fast", tuned.run(RoutingMode.PACKED, 16));
      assertEquals(1, report.blocked().size());
      assertEquals("deadly", report.blocked().get(0).tactic());
      assertEquals("SIGSEGV (1 tokens)", report.blocked().get(0).reason());
      assertEquals(0, gpu.launches("deadly"));
    }
    // Later processes do not even try, isolated or not.
    try (Tuned later = new Tuned(gpu, o -> o.cacheDirectory(folder))) {
      later.tuner.tune(later.layer, CallKind.of(RoutingMode.UNPACKED), TuningOptions.DEFAULT);
      assertEquals("fast", later.run(RoutingMode.UNPACKED, 16));
    }
  }

  @Test
  void aDefaultThatSegfaultsIsNotMeasured() {
    FakeGpu gpu =
        new FakeGpu(
            FakeTactic.of("default", 100).behaving(FakeTactic.Behaviour.SEGFAULT),
            FakeTactic.of("fast", 50));
    try (Tuned tuned =
        new Tuned(
            gpu,
            o ->
                o.isolation(isolation("default=ABORT,fast=CORRECT")).buckets(TokenBuckets.of(1)))) {
      TuningReport report = tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals(Status.FAILED, report.results().get(0).status());
      assertEquals("SIGABRT (1 tokens)", report.blocked().get(0).reason());
      assertEquals(0, gpu.launches().size());
    }
  }

  private static IsolationOptions isolation(String childTactics) {
    return new IsolationOptions(
        Duration.ofMinutes(1),
        Duration.ofMinutes(1),
        ImmutableList.of(
            "-Xmx64m",
            "-XX:TieredStopAtLevel=1",
            "-D" + FakeGpu.CHILD_TACTICS + "=" + childTactics));
  }

  @Test
  void aBudgetThatEndsStopsTheTrialsToo() {
    FakeGpu gpu =
        new FakeGpu(
            FakeTactic.of("default", 100), FakeTactic.of("deadly", 1), FakeTactic.of("b", 1));
    try (Tuned tuned =
        new Tuned(
            gpu,
            o ->
                o.isolation(isolation("default=CORRECT,deadly=SEGFAULT,b=SEGFAULT"))
                    .buckets(TokenBuckets.of(1, 2, 4)))) {
      TuningReport report =
          tuned.tuner.tune(
              tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT.withBudget(Duration.ofNanos(1)));
      assertEquals(
          List.of(Status.CUT_SHORT, Status.SKIPPED, Status.SKIPPED),
          report.results().stream().map(BucketResult::status).toList());
      assertEquals(List.of(), report.blocked(), "nothing was tried after the default");
    }
  }

  @Test
  void whereNoProcessCanBeStartedNothingIsRiskedAndItIsSaid() {
    IsolationOptions broken =
        new IsolationOptions(
            Duration.ofMinutes(1),
            Duration.ofMinutes(1),
            ImmutableList.of("-XX:NoSuchOptionOfTheVirtualMachine"));
    FakeGpu gpu = new FakeGpu(FakeTactic.of("default", 100), FakeTactic.of("fast", 50));
    try (Tuned tuned = new Tuned(gpu, o -> o.isolation(broken).buckets(TokenBuckets.of(1)))) {
      TuningReport report = tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals(Status.SKIPPED, report.results().get(0).status());
      assertEquals(0, gpu.launches().size());
      assertEquals("default", tuned.run(RoutingMode.PACKED, 1));
      assertTrue(
          tuned.tuner.statistics().problems().get(0).contains("NoSuchOption"),
          () -> tuned.tuner.statistics().toString());
    }
  }
}
