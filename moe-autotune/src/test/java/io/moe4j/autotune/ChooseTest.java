package io.moe4j.autotune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.DType;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeDevice;
import io.moe4j.OwnedTensor;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import io.moe4j.UnsupportedOptionException;
import io.moe4j.autotune.profile.Axis;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.profile.TokenBuckets.Rounding;
import io.moe4j.autotune.profile.TunedOperation;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.store.BlockedTactic;
import io.moe4j.autotune.store.Plan;
import io.moe4j.autotune.store.TunedEntry;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeRunner;
import io.moe4j.autotune.testing.FakeTactic;
import java.io.IOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Operations of any kind, with several runners. */
class ChooseTest {
  @TempDir private Path folder;

  private final FakeGpu gpu = new FakeGpu(FakeTactic.of("unused", 1)).lastLevelCacheBytes(1 << 12);
  private final MoeDevice device = gpu.open();
  private final List<OwnedTensor> tensors = new ArrayList<>();
  private final FakeRunner first =
      new FakeRunner("first", gpu.clock(), "default", "a", "b").taking("a", 80).taking("b", 120);
  private final FakeRunner second =
      new FakeRunner("second", gpu.clock(), "c", "d").taking("c", 90).taking("d", 40);

  @AfterEach
  void close() {
    tensors.forEach(OwnedTensor::close);
    assertEquals(0, device.counters().liveBytes());
    assertEquals(0, gpu.openTimings());
    device.close();
  }

  // ---- where an answer is from

  @Test
  void nobodyKnowsTheDefault() {
    Autotuner tuner = tuner();
    Selection selection = tuner.choose(operation(16, first, second));
    assertEquals("first/default", selection.candidate().toString());
    assertEquals(TuningSource.DEFAULT, selection.source());
    assertEquals(0, first.launches() + second.launches());
    assertEquals(1, tuner.statistics().misses());
  }

  @Test
  void tuningFindsTheBestOverAllRunners() {
    Autotuner tuner = tuner();
    try (TuningScope scope = tuner.tuning(TuningOptions.DEFAULT)) {
      assertTrue(scope.profiles());
      assertEquals("second/d", tuner.choose(operation(16, first, second)).candidate().toString());
    }
    assertEquals(List.of("default", "a", "b"), first.tried());
    assertEquals(List.of("c", "d"), second.tried());
  }

  @Test
  void measuredComesBeforeCachedBeforePlansBeforeTheDefault() {
    TunedOperation operation = operation(16, first, second);
    Plan plan = tunedPlan(operation);
    TunerOptions.Builder withPlan = options().plan(rewritten(plan, "b"));
    Autotuner planned = Autotuner.create(withPlan.build());
    assertEquals("first/b", planned.choose(operation).candidate().toString());
    assertEquals(TuningSource.PLAN, planned.choose(operation).source());

    Autotuner writer = Autotuner.create(options().cacheDirectory(folder).build());
    writer.tune(operation, TuningOptions.DEFAULT);
    Autotuner cached = Autotuner.create(withPlan.cacheDirectory(folder).build());
    assertEquals("second/d", cached.choose(operation).candidate().toString());
    assertEquals(TuningSource.CACHED, cached.choose(operation).source());
    assertEquals(TuningSource.MEASURED, writer.choose(operation).source());
    assertEquals(0, cached.statistics().misses());
  }

  @Test
  void aPlanInAJarIsUsedUntilSomethingIsMeasured() throws IOException {
    TunedOperation operation = operation(16, first, second);
    rewritten(tunedPlan(operation), "b").save(folder.resolve("META-INF/moe4j/plan.json"));
    Files.writeString(folder.resolve("META-INF/moe4j/plans.index"), "plan.json");
    Thread thread = Thread.currentThread();
    ClassLoader before = thread.getContextClassLoader();
    Autotuner tuner = Autotuner.create(options().bundledPlans(true).build());
    try (URLClassLoader jar = new URLClassLoader(new URL[] {folder.toUri().toURL()}, null)) {
      thread.setContextClassLoader(jar);
      assertEquals("first/b", tuner.choose(operation).candidate().toString());
      assertEquals(TuningSource.BUNDLED, tuner.choose(operation).source());
    } finally {
      thread.setContextClassLoader(before);
    }
    tuner.tune(operation, TuningOptions.DEFAULT);
    assertEquals("second/d", tuner.choose(operation).candidate().toString());
  }

  @Test
  void ofTwoPlansTheFirstHasTheLastWord() {
    TunedOperation operation = operation(16, first, second);
    Plan plan = tunedPlan(operation);
    Autotuner tuner =
        Autotuner.create(options().plan(rewritten(plan, "a")).plan(rewritten(plan, "b")).build());
    assertEquals("first/a", tuner.choose(operation).candidate().toString());
  }

  @Test
  void aPlanIsNotMeasuredAgain() {
    TunedOperation operation = operation(16, first, second);
    Plan plan = tunedPlan(operation);
    int launches = first.launches();
    Autotuner tuner = Autotuner.create(options().plan(rewritten(plan, "b")).build());
    try (TuningScope scope = tuner.tuning(TuningOptions.DEFAULT)) {
      assertTrue(scope.profiles());
      assertEquals("first/b", tuner.choose(operation).candidate().toString());
    }
    assertEquals(launches, first.launches());
  }

  @Test
  void anAnswerGoesToTheRunnerOfItsNameWhereverThatStands() {
    Autotuner tuner = tuner();
    tuner.tune(operation(16, first, second), TuningOptions.DEFAULT);
    assertEquals("second/d", tuner.choose(operation(16, second, first)).candidate().toString());
    // Without that runner it is a miss, not somebody else's tactic.
    assertEquals("first/default", tuner.choose(operation(16, first)).candidate().toString());
    assertEquals(1, tuner.statistics().misses());
  }

  @Test
  void clearingForgetsEverything() {
    Autotuner tuner = tuner();
    TunedOperation operation = operation(16, first, second);
    tuner.tune(operation, TuningOptions.DEFAULT);
    tuner.clear();
    assertEquals(TuningSource.DEFAULT, tuner.choose(operation).source());
    assertEquals(0, tuner.exportPlan(device).entries().size());
  }

  // ---- buckets

  @Test
  void tokenCountsOfOneBucketGetOneTactic() {
    Autotuner tuner = tuner();
    tuner.tune(operation(16, first, second), TuningOptions.DEFAULT);
    for (long tokens : new long[] {1, 3, 16, 17, 31, 63, 64}) {
      Selection selection = tuner.choose(operation(tokens, first, second));
      assertEquals("second/d", selection.candidate().toString());
      assertTrue(selection.covered());
    }
    // Beyond the last bucket the nearest one answers, but that is no coverage.
    Selection beyond = tuner.choose(operation(1000, first, second));
    assertEquals("second/d", beyond.candidate().toString());
    assertEquals(64, beyond.bucket().getAsLong());
    assertEquals(false, beyond.covered());
  }

  @Test
  void aScopesBucketsAreTheOnesProfiled() {
    Autotuner tuner = tuner();
    TuningOptions options =
        TuningOptions.DEFAULT.withBuckets(TokenBuckets.of(10, 20)).withRounding(Rounding.CEILING);
    try (TuningScope scope = tuner.tuning(options)) {
      assertTrue(scope.profiles());
      assertEquals(20, tuner.choose(operation(12, first)).bucket().getAsLong());
    }
    assertEquals(
        List.of(10L, 20L),
        tuner.exportPlan(device).entries().keySet().stream().map(TuningKey::tokens).toList());
    assertEquals(2, first.preparations());
  }

  @Test
  void otherAttributesHaveTuningsOfTheirOwn() {
    Autotuner tuner = tuner();
    tuner.tune(operation(16, first), TuningOptions.DEFAULT);
    TunedOperation wide =
        TunedOperation.builder("op", device)
            .attribute("output", "f32")
            .runner(first)
            .input(tensor(16))
            .dimension("tokens", TokenBuckets.powersOfTwo(64), new Axis(0, 0))
            .build();
    assertEquals(TuningSource.DEFAULT, tuner.choose(wide).source());
    tuner.tune(wide, TuningOptions.DEFAULT);
    assertEquals(TuningSource.MEASURED, tuner.choose(wide).source());
    assertEquals(14, tuner.exportPlan(device).entries().size());
  }

  @Test
  void allCombinationsOfSeveralSizesAreTuned() {
    Autotuner tuner = tuner();
    TunedOperation operation =
        TunedOperation.builder("op", device)
            .runner(first)
            .input(matrix(3, 30))
            .dimension("tokens", TokenBuckets.of(1, 2), new Axis(0, 0))
            .dimension("length", TokenBuckets.of(10, 20, 40), new Axis(0, 1))
            .build();
    TuningReport report = tuner.tune(operation, TuningOptions.DEFAULT);
    assertEquals(6, report.results().size());
    assertEquals("first/a", tuner.choose(operation).candidate().toString());
  }

  // ---- ranking

  @Test
  void aRankingIsBestFirst() {
    Autotuner tuner = tuner();
    TunedOperation operation = operation(16, first, second);
    try (TuningScope scope = tuner.tuning(TuningOptions.DEFAULT)) {
      assertTrue(scope.profiles());
      assertEquals(
          List.of("second/d", "first/a", "second/c"),
          tuner.rank(operation, 3).stream().map(Object::toString).toList());
      assertEquals(5, tuner.rank(operation, 99).size());
    }
    assertEquals("second/d", tuner.choose(operation).candidate().toString());
  }

  @Test
  void aRankingIsRebuiltWhereOnlyTheWinnerIsStored() {
    TunedOperation operation = operation(16, first, second);
    Autotuner.create(options().cacheDirectory(folder).build())
        .tune(operation, TuningOptions.DEFAULT);
    Autotuner tuner = Autotuner.create(options().cacheDirectory(folder).build());
    int preparations = first.preparations();
    try (TuningScope scope = tuner.tuning(TuningOptions.DEFAULT)) {
      assertTrue(scope.profiles());
      assertEquals(
          List.of("second/d", "first/a"),
          tuner.rank(operation, 2).stream().map(Object::toString).toList());
    }
    assertEquals(preparations + 1, first.preparations(), "one bucket was searched");
  }

  @Test
  void aRankingBelongsToTheBucketOfItsInputs() {
    Autotuner tuner = tuner();
    try (TuningScope scope = tuner.tuning(TuningOptions.DEFAULT)) {
      assertTrue(scope.profiles());
      assertEquals(
          List.of("second/d", "first/a"),
          tuner.rank(operation(23, first, second), 2).stream().map(Object::toString).toList());
      int preparations = first.preparations();
      assertEquals(2, tuner.rank(operation(17, first, second), 2).size());
      assertEquals(preparations, first.preparations(), "both have the bucket of 16");
    }
  }

  @Test
  void outsideAScopeARankingIsTheChosenOne() {
    Autotuner tuner = tuner();
    TunedOperation operation = operation(16, first, second);
    assertEquals(1, tuner.rank(operation, 5).size());
    assertEquals("first/default", tuner.rank(operation, 5).get(0).toString());
    assertEquals(0, first.launches());
    assertThrows(InvalidArgumentException.class, () -> tuner.rank(operation, 0));
  }

  // ---- exceptions to the rule

  @Test
  void skippedOperationsAreNotProfiledAndOthersAre() {
    Autotuner tuner = tuner();
    try (TuningScope scope = tuner.tuning(TuningOptions.DEFAULT.withSkippedOperations("op"))) {
      assertTrue(scope.skips("op"));
      assertEquals(
          "first/default", tuner.choose(operation(16, first, second)).candidate().toString());
      assertEquals("first/default", tuner.rank(operation(16, first, second), 3).get(0).toString());
      assertEquals(0, first.launches());
      TunedOperation other =
          TunedOperation.builder("other", device)
              .runner(second)
              .input(tensor(16))
              .dimension("tokens", TokenBuckets.of(16), new Axis(0, 0))
              .build();
      assertEquals("second/d", tuner.choose(other).candidate().toString());
    }
    assertEquals(
        List.of("other"),
        tuner.exportPlan(device).entries().keySet().stream()
            .map(key -> key.family().operation())
            .distinct()
            .toList());
  }

  @Test
  void blockedTacticsAreNotTried() {
    Autotuner tuner = tuner();
    tuner.blocklist(device).add(new BlockedTactic("op", "second", "d", "known to be bad"));
    tuner.tune(operation(16, first, second), TuningOptions.DEFAULT);
    assertEquals("first/a", tuner.choose(operation(16, first, second)).candidate().toString());
    assertEquals(List.of("c"), second.tried());
  }

  @Test
  void whereEverythingIsBlockedTheDefaultRuns() {
    Autotuner tuner = tuner();
    for (String tactic : List.of("default", "a", "b")) {
      tuner.blocklist(device).add(new BlockedTactic("op", "first", tactic, "bad"));
    }
    tuner.tune(operation(16, first), TuningOptions.DEFAULT);
    assertEquals("first/default", tuner.choose(operation(16, first)).candidate().toString());
  }

  @Test
  void aRunnerThatCallsTunedOperationsIsNotInterrupted() {
    Autotuner tuner = tuner();
    FakeRunner inner = new FakeRunner("inner", gpu.clock(), "x", "y").taking("y", 1);
    TunedOperation nested =
        TunedOperation.builder("nested", device)
            .runner(inner)
            .input(tensor(16))
            .dimension("tokens", TokenBuckets.of(16), new Axis(0, 0))
            .build();
    first.onLaunch(() -> assertEquals("inner/x", tuner.choose(nested).candidate().toString()));
    try (TuningScope scope = tuner.tuning(TuningOptions.DEFAULT)) {
      assertTrue(scope.profiles());
      assertEquals("first/a", tuner.choose(operation(16, first)).candidate().toString());
      assertEquals(0, inner.launches(), "not while another operation is measured");
      assertEquals("inner/y", tuner.choose(nested).candidate().toString());
    }
  }

  @Test
  void withoutAnyTacticThereIsNoAnswer() {
    FakeRunner none = new FakeRunner("none", gpu.clock());
    Autotuner tuner = tuner();
    assertThrows(UnsupportedOptionException.class, () -> tuner.choose(operation(16, none)));
    assertEquals("first/default", tuner.choose(operation(16, none, first)).candidate().toString());
  }

  @Test
  void anInputThatIsNotThereIsNotThereInProfilesEither() {
    List<Boolean> present = new ArrayList<>();
    FakeRunner runner =
        new FakeRunner("optional", gpu.clock(), "default", "x")
            .taking("x", 1)
            .onPrepare(rows -> rows.forEach(row -> present.add(row.get(1).isPresent())));
    TunedOperation operation =
        TunedOperation.builder("op", device)
            .runner(runner)
            .input(tensor(16))
            .input(Optional.empty())
            .dimension("tokens", TokenBuckets.of(16), new Axis(0, 0), new Axis(1, 0))
            .build();
    Autotuner tuner = tuner();
    tuner.tune(operation, TuningOptions.DEFAULT);
    assertEquals("optional/x", tuner.choose(operation).candidate().toString());
    assertTrue(present.size() > 0 && !present.contains(true), present::toString);
  }

  @Test
  void anInputOfAnotherRankIsAnotherOperation() {
    Autotuner tuner = tuner();
    tuner.tune(operation(16, first), TuningOptions.DEFAULT);
    OwnedTensor flat = device.allocate(TensorSpec.of(DType.BF16, 16 * 64));
    tensors.add(flat);
    TunedOperation flattened =
        TunedOperation.builder("op", device)
            .runner(first)
            .input(Optional.of(flat))
            .dimension("tokens", TokenBuckets.powersOfTwo(64), new Axis(0, 0))
            .build();
    assertEquals(TuningSource.DEFAULT, tuner.choose(flattened).source());
  }

  @Test
  void everyTacticIsTimedOnTheSameInputsAndNoneOnTheCallers() {
    OwnedTensor mine = device.allocate(TensorSpec.of(DType.BF16, 1, 64));
    tensors.add(mine);
    ByteBuffer before = ByteBuffer.allocate(128);
    mine.copyTo(before);
    Map<String, Set<Integer>> inputs = new HashMap<>();
    Set<Long> addresses = new HashSet<>();
    first
        .onPrepare(rows -> rows.forEach(row -> addresses.add(row.get(0).orElseThrow().address())))
        .onLaunch(
            () ->
                inputs
                    .computeIfAbsent(first.lastTactic(), tactic -> new HashSet<>())
                    .add(first.lastIndex()));
    TunedOperation operation =
        TunedOperation.builder("op", device)
            .runner(first)
            .input(Optional.of(mine))
            .dimension("tokens", TokenBuckets.of(1), new Axis(0, 0))
            .build();
    TuningReport report = tuner().tune(operation, TuningOptions.DEFAULT);
    int copies = report.results().get(0).copies();
    assertTrue(copies > 1);
    assertEquals(copies, addresses.size());
    assertFalse(addresses.contains(mine.address()));
    assertEquals(Set.of("default", "a", "b"), inputs.keySet());
    inputs.forEach((tactic, used) -> assertEquals(copies, used.size(), tactic));
    ByteBuffer after = ByteBuffer.allocate(128);
    mine.copyTo(after);
    assertEquals(before.clear(), after.clear());
  }

  @Test
  void preparationIsNoPartOfTheTime() {
    // A runner's preparation takes a second, its launches microseconds.
    Autotuner tuner = tuner();
    TuningReport report = tuner.tune(operation(16, first), TuningOptions.DEFAULT);
    assertEquals(80_000, report.results().get(0).decision().orElseThrow().nanos(), 1e-6);
    assertEquals(7, first.preparations());
  }

  // ---- helpers

  private Autotuner tuner() {
    return Autotuner.create(options().build());
  }

  private TunerOptions.Builder options() {
    return Tuned.options(gpu);
  }

  private Plan tunedPlan(TunedOperation operation) {
    Autotuner tuner = tuner();
    tuner.tune(operation, TuningOptions.DEFAULT);
    return tuner.exportPlan(device);
  }

  /** A plan that says another tactic of the first runner. */
  private static Plan rewritten(Plan plan, String tactic) {
    return Plan.of(
        plan.environment(),
        plan.entries().values().stream()
            .map(
                entry ->
                    new TunedEntry(entry.key(), entry.serves(), "first", tactic, 1, 1, 0, true))
            .toList());
  }

  private TunedOperation operation(long tokens, FakeRunner... runners) {
    TunedOperation.Builder builder =
        TunedOperation.builder("op", device)
            .input(tensor(tokens))
            .dimension("tokens", TokenBuckets.powersOfTwo(64), new Axis(0, 0));
    for (FakeRunner runner : runners) {
      builder.runner(runner);
    }
    return builder.build();
  }

  private Optional<Tensor> tensor(long tokens) {
    return matrix(tokens, 64);
  }

  private Optional<Tensor> matrix(long rows, long columns) {
    OwnedTensor tensor = device.allocate(TensorSpec.of(DType.BF16, rows, columns));
    tensors.add(tensor);
    return Optional.of(tensor);
  }
}
