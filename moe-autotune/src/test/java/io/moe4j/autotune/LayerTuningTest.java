package io.moe4j.autotune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableMap;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMode;
import io.moe4j.RoutingSkew;
import io.moe4j.RoutingSpec;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.profile.TokenBuckets.Rounding;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.search.BucketResult.Status;
import io.moe4j.autotune.search.TacticTiming.Outcome;
import io.moe4j.autotune.store.Plan;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeLaunch;
import io.moe4j.autotune.testing.FakeTactic;
import io.moe4j.autotune.testing.TestLayers;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A layer's launches before, while and after they are tuned. */
class LayerTuningTest {
  @TempDir private Path folder;

  // ---- in scopes

  @Test
  void outsideAScopeNothingIsEverProfiled() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      assertEquals("default", tuned.run(RoutingMode.PACKED, 4));
      assertEquals(1, tuned.gpu.launches().size());
      assertEquals(1, tuned.tuner.statistics().misses());
    }
  }

  @Test
  void insideAScopeTheFirstCallTunesAllBucketsAndLaterCallsGetTheBest() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      try (TuningScope scope = tuned.tuner.tuning(TuningOptions.DEFAULT)) {
        assertTrue(scope.profiles());
        assertEquals("few", tuned.run(RoutingMode.PACKED, 4));
        int launches = tuned.gpu.launches().size();
        assertTrue(launches > 50, () -> launches + " launches");
        assertEquals("many", tuned.run(RoutingMode.PACKED, 64));
        assertEquals(launches + 1, tuned.gpu.launches().size());
      }
      int launches = tuned.gpu.launches().size();
      assertEquals("few", tuned.run(RoutingMode.PACKED, 8));
      assertEquals("many", tuned.run(RoutingMode.PACKED, 33));
      assertEquals(launches + 2, tuned.gpu.launches().size());
      assertEquals(0, tuned.tuner.statistics().misses());
    }
  }

  @Test
  void anotherThreadsScopeIsNotMine() throws InterruptedException {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o);
        TuningScope scope = tuned.tuner.tuning(TuningOptions.DEFAULT)) {
      assertTrue(tuned.tuner.isTuning() && scope.profiles());
      Thread other = new Thread(() -> tuned.run(RoutingMode.PACKED, 4));
      other.start();
      other.join();
      assertEquals(1, tuned.gpu.launches().size());
    }
  }

  @Test
  void aScopeThatOnlyLooksUpDoesNotProfile() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o);
        TuningScope scope = tuned.tuner.tuning(TuningOptions.DEFAULT.withProfile(false))) {
      assertEquals(false, scope.profiles());
      assertEquals("default", tuned.run(RoutingMode.PACKED, 4));
      assertEquals(1, tuned.gpu.launches().size());
    }
  }

  @Test
  void aSkippedOperationRunsItsDefaultAndLeavesNoTrace() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      int launches = tuned.gpu.launches().size();
      try (TuningScope scope =
          tuned.tuner.tuning(TuningOptions.DEFAULT.withSkippedOperations("fused_moe"))) {
        assertTrue(scope.skips("fused_moe"));
        assertEquals("default", tuned.run(RoutingMode.PACKED, 4));
        assertEquals("default", tuned.run(RoutingMode.UNPACKED, 4));
      }
      assertEquals(launches + 2, tuned.gpu.launches().size());
      assertEquals("few", tuned.run(RoutingMode.PACKED, 4));
    }
  }

  @Test
  void bucketsOfAScopeAreProfiledAndFoundAfterIt() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      try (TuningScope scope =
          tuned.tuner.tuning(
              TuningOptions.DEFAULT
                  .withBuckets(TokenBuckets.of(6, 40))
                  .withRounding(Rounding.CEILING))) {
        assertEquals("few", tuned.run(RoutingMode.PACKED, 5));
        assertEquals(Rounding.CEILING, scope.buckets(TokenBuckets.of(1)).rounding());
      }
      assertEquals(
          Set.of(6L, 40L),
          tuned.tuner.exportPlan(tuned.device).entries().keySet().stream()
              .map(TuningKey::tokens)
              .collect(Collectors.toSet()));
      // 7 rounds up to 40, 6 is itself.
      assertEquals("few", tuned.run(RoutingMode.PACKED, 6));
      assertEquals("many", tuned.run(RoutingMode.PACKED, 7));
      assertEquals(0, tuned.tuner.statistics().misses());
      // 41 is beyond: the nearest bucket answers, and the launch counts as uncovered.
      assertEquals("many", tuned.run(RoutingMode.PACKED, 41));
      assertEquals(1, tuned.tuner.statistics().misses());
    }
  }

  // ---- through the production launch

  @ParameterizedTest
  @EnumSource
  void profiledLaunchesTakeTheirCallsRoutingPath(RoutingMode mode) {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      tuned.tuner.tune(tuned.layer, CallKind.of(mode), TuningOptions.DEFAULT);
      assertEquals(
          Set.of(mode),
          tuned.gpu.launches().stream().map(FakeLaunch::routing).collect(Collectors.toSet()));
      long routed = tuned.device.counters().routingLaunches();
      assertEquals(
          mode == RoutingMode.FROM_LOGITS ? tuned.device.counters().launches() : 0, routed);
      // What was tuned for one path says nothing about another.
      for (RoutingMode other : RoutingMode.values()) {
        String expected = other == mode ? "few" : "default";
        assertEquals(expected, tuned.run(other, 4));
      }
    }
  }

  @Test
  void everyKindOfCallHasProfilesThatTheLayerAccepts() {
    for (QuantFormat activations :
        Arrays.stream(QuantFormat.values()).filter(QuantFormat::isForActivations).toList()) {
      MoeSpec spec =
          TestLayers.spec()
              .activationFormat(activations)
              .routing(RoutingSpec.deepSeekV3(4, 2, 2.5f))
              .build();
      try (Tuned tuned =
          new Tuned(
              new FakeGpu(FakeTactic.of("a", 9), FakeTactic.of("b", 1)),
              spec,
              o -> o.buckets(TokenBuckets.of(3)))) {
        for (RoutingMode mode : RoutingMode.values()) {
          for (int options = 0; options < 8; options++) {
            CallKind kind =
                new CallKind(
                    mode,
                    activations.hasScales() ? activations : QuantFormat.BF16,
                    (options & 1) > 0,
                    (options & 2) > 0,
                    (options & 4) > 0,
                    RoutingSkew.UNKNOWN);
            TuningReport report = tuned.tuner.tune(tuned.layer, kind, TuningOptions.DEFAULT);
            assertEquals(Status.TUNED, report.results().get(0).status(), report::toString);
            report
                .results()
                .get(0)
                .timings()
                .forEach(
                    timing -> assertEquals(Outcome.MEASURED, timing.outcome(), kind::toString));
          }
        }
        assertEquals(0, tuned.tuner.statistics().failedTactics().size());
      }
    }
  }

  @Test
  void aRankWithFewerExpertsThanTopKIsTunedOnItsShareOfTheWork() {
    MoeSpec spec = TestLayers.spec().numExperts(64).topK(8).expertParallel(20, 4).build();
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), spec, o -> o)) {
      TuningReport report = tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      report.results().forEach(result -> assertEquals(Status.TUNED, result.status()));
      FakeLaunch large =
          tuned.gpu.launches().stream()
              .filter(launch -> launch.tokens() == 64)
              .findFirst()
              .orElseThrow();
      int rows = large.work().localRows();
      assertTrue(rows > 8 && rows < 64 * 8 / 4, () -> rows + " of 512 rows are local");
    }
  }

  // ---- plans

  @Test
  void aRankImportsTheFirstOnesPlanAndMeasuresNothing() {
    Path plan = folder.resolve("plan.json");
    MoeSpec first = TestLayers.spec().expertParallel(0, 8).build();
    MoeSpec second = TestLayers.spec().expertParallel(8, 8).build();
    try (Tuned rank0 = new Tuned(Tuned.threeTactics(), first, o -> o)) {
      rank0.tuner.tune(rank0.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      rank0.tuner.exportPlan(rank0.device).save(plan);
    }
    try (Tuned rank1 = new Tuned(Tuned.threeTactics(), second, o -> o)) {
      assertEquals("default", rank1.run(RoutingMode.PACKED, 4));
      assertEquals(0, rank1.tuner.importPlan(Plan.load(plan), rank1.device).rejected().size());
      assertEquals("few", rank1.run(RoutingMode.PACKED, 4));
      assertEquals(
          0, rank1.tuner.tune(rank1.layer, Tuned.PACKED, TuningOptions.DEFAULT).launches());
      assertEquals(TuningSource.PLAN, rank1.covered(4).source());
    }
  }

  // ---- skew

  @Test
  void aCallThatNamesItsSkewGetsThatSkewsTactic() {
    FakeGpu gpu =
        new FakeGpu(
            FakeTactic.of("default", 100),
            FakeTactic.of("hot", (w, n) -> w.hottestExpert() == w.tokens() ? 60e3 : 89e3),
            FakeTactic.of("even", (w, n) -> w.hottestExpert() == w.tokens() ? 88e3 : 62e3));
    ImmutableMap<RoutingSkew, Double> blend =
        ImmutableMap.of(RoutingSkew.UNIFORM, 0.9, RoutingSkew.HOT, 0.1);
    try (Tuned tuned = new Tuned(gpu, o -> o.blend(blend).buckets(TokenBuckets.of(64)))) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals("hot", tuned.run(RoutingMode.PACKED, 64, RoutingSkew.HOT));
      assertEquals("even", tuned.run(RoutingMode.PACKED, 64, RoutingSkew.UNIFORM));
      assertEquals(3, tuned.tuner.exportPlan(tuned.device).entries().size());
      // One that was not profiled gets the blend's.
      assertEquals(
          tuned.run(RoutingMode.PACKED, 64, RoutingSkew.UNKNOWN),
          tuned.run(RoutingMode.PACKED, 64, RoutingSkew.ZIPF));
    }
  }

  @Test
  void aNamedSkewIsTunedByItselfAndTheBlendAnswersBeyondIt() {
    FakeGpu gpu =
        new FakeGpu(
            FakeTactic.of("default", 100),
            FakeTactic.of("hot", (w, n) -> w.hottestExpert() == w.tokens() ? 60e3 : 89e3),
            FakeTactic.of("even", (w, n) -> w.hottestExpert() == w.tokens() ? 88e3 : 62e3));
    try (Tuned tuned = new Tuned(gpu, o -> o.buckets(TokenBuckets.of(16, 64)))) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      CallKind hot = Tuned.PACKED.withSkew(RoutingSkew.HOT);
      TuningReport report =
          tuned.tuner.tune(
              tuned.layer, hot, TuningOptions.DEFAULT.withBuckets(TokenBuckets.of(16)));
      assertEquals(Set.of(RoutingSkew.HOT), report.results().get(0).decisions().keySet());
      assertEquals("hot", tuned.run(RoutingMode.PACKED, 16, RoutingSkew.HOT));
      // What was tuned for this token count comes before what was tuned for this skew.
      assertEquals("even", tuned.run(RoutingMode.PACKED, 40, RoutingSkew.HOT));
      assertEquals(0, tuned.tuner.statistics().misses());
      assertTrue(tuned.tuner.coverage(tuned.layer, hot, 16, 40, 64).isComplete());
    }
  }

  // ---- coverage

  @Test
  void coverageSaysWhereEachTacticIsFrom() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      tuned.tuner.tune(
          tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT.withBuckets(TokenBuckets.of(4, 8)));
      Coverage coverage = tuned.tuner.coverage(tuned.layer, Tuned.PACKED, 4, 7, 8, 9);
      assertEquals(
          List.of(true, true, true, false),
          coverage.shapes().stream().map(shape -> shape.selection().covered()).toList());
      assertEquals(TuningSource.MEASURED, coverage.shapes().get(1).selection().source());
      assertEquals(4, coverage.shapes().get(1).selection().bucket().getAsLong());
      UncoveredShapeException e =
          assertThrows(UncoveredShapeException.class, coverage::requireComplete);
      assertTrue(e.getMessage().contains(": 9;"), e.getMessage());
      assertTrue(coverage.toString().contains("the nearest: 8 tokens"), coverage.toString());
      tuned.tuner.coverage(tuned.layer, Tuned.PACKED, 4, 8).requireComplete();
      assertEquals(0, tuned.tuner.statistics().misses());
    }
  }

  @Test
  void strictModeRefusesAnUncoveredShapeBeforeItIsLaunched() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o.strict(true))) {
      assertThrows(UncoveredShapeException.class, () -> tuned.run(RoutingMode.PACKED, 4));
      assertThrows(UncoveredShapeException.class, () -> tuned.run(RoutingMode.PACKED, 4));
      assertEquals(0, tuned.gpu.launches().size());
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals("few", tuned.run(RoutingMode.PACKED, 4));
      assertThrows(UncoveredShapeException.class, () -> tuned.run(RoutingMode.UNPACKED, 4));
    }
  }

  @Test
  void layersThatAreAlikeShareTheirTunings() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o);
        MoeDevice other = tuned.gpu.open();
        MoeLayer sibling =
            tuned.device.prepare(
                tuned.spec, expert -> TestLayers.weights(tuned.spec), tuned.tuner)) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertTrue(tuned.tuner.coverage(sibling, Tuned.PACKED, 4).isComplete());
      assertEquals(tuned.device.info(), other.info());
    }
  }
}
