package io.moe4j.autotune.search;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeSpec;
import io.moe4j.RoutingMode;
import io.moe4j.RoutingSkew;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.MoeOperation;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.profile.TunedOperation;
import io.moe4j.autotune.search.BucketResult.Status;
import io.moe4j.autotune.search.TacticTiming.Outcome;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeTactic;
import io.moe4j.autotune.testing.FakeTactic.Behaviour;
import io.moe4j.autotune.testing.TestLayers;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Decisions about one bucket, on a clock that only launches move. */
class TacticSearchTest {
  private static final Duration HOUR = Duration.ofHours(1);

  /** BF16 input and output, experts and weights. */
  private static final long BYTES_PER_TOKEN = 2 * 32 + 2 * 32 + 4 * 4 + 4 * 4;

  private static final Map<RoutingSkew, Double> UNIFORM = Map.of(RoutingSkew.UNIFORM, 1.0);

  private final FakeGpu gpu = new FakeGpu(FakeTactic.of("default", 100));
  private final MoeSpec spec = TestLayers.spec().build();
  private MoeDevice device;
  private MoeLayer layer;
  private Map<RoutingSkew, Double> blend = UNIFORM;
  private TacticFilter filter = TacticFilter.NONE;
  private Rehearsal rehearsal = Rehearsal.NONE;
  private long memoryBudget = 1L << 28;

  @BeforeEach
  void open() {
    gpu.lastLevelCacheBytes(1 << 12);
    device = gpu.open();
    layer = device.prepare(spec, expert -> TestLayers.weights(spec));
  }

  @AfterEach
  void nothingIsLeft() {
    layer.close();
    assertEquals(0, device.counters().liveBytes());
    assertEquals(0, gpu.openTimings());
    device.close();
  }

  // ---- who wins

  @Test
  void theFastestTacticWins() {
    gpu.tactics(
        FakeTactic.of("default", 100), FakeTactic.of("slow", 120), FakeTactic.of("fast", 50));
    BucketResult result = search(16);
    assertEquals(Status.TUNED, result.status());
    assertEquals("fast", chosen(result));
    assertEquals(2.0, decision(result).speedup(), 1e-9);
    assertEquals(50_000, decision(result).nanos(), 1e-6);
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
  void theDefaultIsKeptWithinTheNoise(long seed) {
    // Equal but for a jitter of 20%, so that one of them looks faster.
    gpu.tactics(
        FakeTactic.of("default", (work, launch) -> 100e3 * jitter(seed * 1000 + launch, 0.2)),
        FakeTactic.of("luckier", (work, launch) -> 100e3 * jitter(seed * 1000 - launch, 0.2)));
    assertEquals("default", chosen(search(512)));
  }

  @Test
  void aWinnerBeyondTheNoiseIsFoundThroughIt() {
    gpu.tactics(
        FakeTactic.of("default", (work, launch) -> 100e3 * jitter(launch, 0.2)),
        FakeTactic.of("faster", (work, launch) -> 70e3 * jitter(launch * 31, 0.2)));
    assertEquals("faster", chosen(search(16)));
  }

  @Test
  void aMachineThatSlowsDownMidwaySlowsDownEveryone() {
    // Everything takes three times as long after 30 launches: samples of before and after differ,
    // their ratios do not.
    gpu.tactics(
        FakeTactic.of("default", (work, launch) -> launch > 30 ? 300e3 : 100e3),
        FakeTactic.of("faster", (work, launch) -> launch > 30 ? 240e3 : 80e3));
    BucketResult result = search(16);
    assertEquals("faster", chosen(result));
    assertTrue(decision(result).noise() < 0.01, () -> "noise " + decision(result).noise());
  }

  @Test
  void equalTacticsAreDecidedByTheirOrder() {
    gpu.tactics(
        FakeTactic.of("default", 100),
        FakeTactic.of("first", 50.1),
        FakeTactic.of("second", 50.0),
        FakeTactic.of("third", 50.2));
    assertEquals("first", chosen(search(16)));
  }

  @Test
  void theDefaultAloneIsChosenWithItsTime() {
    BucketResult result = search(16);
    assertEquals("default", chosen(result));
    assertEquals(100_000, decision(result).nanos(), 1e-6);
    assertEquals(1, result.timings().size());
  }

  // ---- what it costs

  @Test
  void manyTacticsCostLittle() {
    FakeTactic[] tactics =
        IntStream.range(0, 60)
            .mapToObj(i -> FakeTactic.of("t" + i, i == 41 ? 60 : 100 + i))
            .toArray(FakeTactic[]::new);
    gpu.tactics(tactics);
    BucketResult result = search(512);
    assertEquals("t41", chosen(result));
    assertEquals(1, result.copies());
    // 60 warm-ups and first samples; 61 * 5 more would be a search without elimination.
    assertTrue(result.launches() < 200, () -> result.launches() + " launches");
    assertTrue(gpu.launches("t59") <= 3, () -> gpu.launches("t59") + " of the slowest");
    assertTrue(gpu.launches("t41") >= SearchOptions.DEFAULT.minPasses());
  }

  @Test
  void aCloseDecisionGetsNoMoreThanItsShareOfTheTime() {
    // Never decided: 30% of noise.
    gpu.tactics(
        FakeTactic.of("default", (work, launch) -> 30e6 * jitter(launch, 0.3)),
        FakeTactic.of("close", (work, launch) -> 29e6 * jitter(launch * 31, 0.3)));
    long alone = newSearch(Duration.ofSeconds(10)).search(512, 1, 1).launches();
    assertEquals(2L * SearchOptions.DEFAULT.maxPasses(), alone);
    long sharing = newSearch(Duration.ofSeconds(10)).search(512, 0.08, 1).launches();
    assertTrue(sharing >= 2L * SearchOptions.DEFAULT.minPasses(), () -> sharing + " launches");
    // 0.8 s at 30 ms a launch.
    assertTrue(sharing < 32, () -> sharing + " launches");
  }

  @Test
  void aVerySlowTacticIsLaunchedThreeTimesAndOnlyOnceWhereThatIsLong() {
    blend = Map.of(RoutingSkew.UNIFORM, 0.5, RoutingSkew.ZIPF, 0.5);
    gpu.tactics(FakeTactic.of("default", 100), FakeTactic.of("awful", 10_000));
    BucketResult result = search(512);
    assertEquals(
        3, gpu.launches("awful"), "one distribution, again for a cold start, and to be sure");
    assertEquals(Outcome.ELIMINATED, timing(result, "awful").outcome());
    gpu.tactics(
        FakeTactic.of("default", 30e3),
        FakeTactic.of("terrible", 100e3),
        FakeTactic.of("slow", 60e3));
    search(512);
    assertEquals(1, gpu.launches("terrible"), "3.3 times as slow as the default");
    assertEquals(2, gpu.launches("slow"), "twice, which a hitch could be");
  }

  @Test
  void finalistsThatAreSurelyBeatenRest() {
    gpu.tactics(
        FakeTactic.of("default", (work, launch) -> 100e3 * jitter(launch, 0.1)),
        FakeTactic.of("close", (work, launch) -> 98e3 * jitter(launch * 31, 0.1)),
        FakeTactic.of("slower", (work, launch) -> 140e3));
    BucketResult result = search(512);
    assertEquals(Outcome.MEASURED, timing(result, "slower").outcome());
    assertTrue(
        timing(result, "slower").samples() < timing(result, "close").samples(), result::toString);
  }

  @Test
  void whatWasFastForFewTokensIsTriedFirstForMore() {
    gpu.tactics(
        FakeTactic.of("default", 100), FakeTactic.of("slow", 90), FakeTactic.of("fast", 50));
    TacticSearch search = newSearch(HOUR);
    search.search(256, 1, 1);
    assertEquals(List.of("default", "slow", "fast"), orderOfTrial(256));
    search.search(512, 1, 1);
    assertEquals(List.of("default", "fast", "slow"), orderOfTrial(512));
  }

  private List<String> orderOfTrial(long tokens) {
    return gpu.launches().stream()
        .filter(launch -> launch.tokens() == tokens)
        .map(launch -> launch.tactic())
        .distinct()
        .toList();
  }

  @Test
  void whatIsHopelessForFewTokensIsNotTriedForMore() {
    gpu.tactics(
        FakeTactic.of("default", (work, launch) -> 100e3 * work.tokens()),
        FakeTactic.of("reference", (work, launch) -> 2000e3 * work.tokens()),
        FakeTactic.of("batched", (work, launch) -> 800e3));
    TacticSearch search = newSearch(HOUR);
    assertEquals("default", chosen(search.search(1, 1, 1)));
    BucketResult two = search.search(2, 1, 1);
    assertEquals(Outcome.HOPELESS, timing(two, "reference").outcome());
    assertEquals(Outcome.HOPELESS, timing(two, "batched").outcome());
    // 8 times as slow for one token can be as fast for 16, and is.
    BucketResult sixteen = search.search(16, 1, 1);
    assertEquals(Outcome.HOPELESS, timing(sixteen, "reference").outcome());
    assertEquals("batched", chosen(sixteen));
  }

  @Test
  void samplesAreTakenInTurnsOverTheWholeRotation() {
    gpu.lastLevelCacheBytes(1 << 20);
    try (MoeDevice cached = gpu.open();
        MoeLayer cachedLayer = cached.prepare(spec, expert -> TestLayers.weights(spec))) {
      gpu.tactics(FakeTactic.of("default", 100), FakeTactic.of("other", 99));
      TunedOperation operation = operation(cachedLayer);
      BucketResult result = newSearch(operation, HOUR).search(1, 1, 1);
      assertEquals(16, result.copies());
      long inputs = gpu.launches().stream().map(launch -> launch.hiddenStates()).distinct().count();
      assertEquals(16, inputs);
      // Runs of one tactic are as long as a rotation, and its warm-up where it is the first.
      String order =
          String.join(
              "", gpu.launches().stream().map(launch -> launch.tactic().substring(0, 1)).toList());
      assertTrue(
          Arrays.stream(order.split("(?<=d)(?=o)|(?<=o)(?=d)"))
              .skip(2)
              .limit(4)
              .allMatch(run -> run.length() == 16 || run.length() == 32),
          order);
    }
  }

  // ---- budgets

  @Test
  void onExpiryTheBestSoFarIsTheAnswer() {
    gpu.tactics(
        FakeTactic.of("default", 1e6),
        FakeTactic.of("fast", 0.5e6),
        FakeTactic.of("faster", 0.2e6));
    // A second for the default's launch; fast fits in, faster does not.
    BucketResult result = newSearch(Duration.ofMillis(1400)).search(512, 1, 1);
    assertEquals(Status.CUT_SHORT, result.status());
    assertEquals("fast", chosen(result));
    assertEquals(0, gpu.launches("faster"));
    assertEquals(Outcome.ELIMINATED, timing(result, "faster").outcome());
  }

  @Test
  void aCloseDecisionThatTimeEndsIsOneAllTheSame() {
    gpu.tactics(
        FakeTactic.of("default", (work, launch) -> 1e6 * jitter(launch, 0.3)),
        FakeTactic.of("close", (work, launch) -> 0.99e6 * jitter(launch * 31, 0.3)));
    // 12 seconds or so for the passes that it takes at least, and many more for maxPasses.
    BucketResult result = newSearch(Duration.ofSeconds(18)).search(512, 1, 1);
    assertEquals(Status.TUNED, result.status());
    assertTrue(timing(result, "close").samples() < SearchOptions.DEFAULT.maxPasses());
    BucketResult limited = newSearch(Duration.ofMinutes(30)).search(512, 0.01, 0.01);
    assertEquals(Status.TUNED, limited.status());
  }

  @Test
  void aSearchThatTakesMoreThanItsLimitIsCutShort() {
    gpu.tactics(FakeTactic.of("default", 1e6), FakeTactic.of("fast", 0.5e6));
    BucketResult result = newSearch(Duration.ofSeconds(100)).search(512, 0.02, 0.025);
    assertEquals(Status.CUT_SHORT, result.status());
    assertEquals("its share of the time budget is spent", result.detail());
    assertEquals("fast", chosen(result));
  }

  @Test
  void aSlightLeadOnExpiryIsNotEnough() {
    gpu.tactics(FakeTactic.of("default", 1e6), FakeTactic.of("slightly", 0.95e6));
    BucketResult result = newSearch(Duration.ofSeconds(3)).search(512, 1, 1);
    assertEquals(Status.CUT_SHORT, result.status());
    assertEquals("default", chosen(result));
  }

  @Test
  void withoutTimeNothingIsLaunched() {
    BucketResult result = newSearch(Duration.ZERO).search(16, 1, 1);
    assertEquals(Status.SKIPPED, result.status());
    assertTrue(result.decisions().isEmpty());
    assertEquals(0, gpu.launches().size());
  }

  @Test
  void anInterruptedThreadStopsWithTheBestSoFar() {
    gpu.tactics(
        FakeTactic.of("default", 100),
        FakeTactic.of(
            "interrupting",
            (work, launch) -> {
              Thread.currentThread().interrupt();
              return 50e3;
            }),
        FakeTactic.of("unreached", 10));
    BucketResult result;
    try {
      result = search(512);
    } finally {
      assertTrue(Thread.interrupted());
    }
    assertEquals(Status.CUT_SHORT, result.status());
    assertEquals("interrupting", chosen(result));
    assertEquals(0, gpu.launches("unreached"));
    assertEquals("the thread was interrupted", timing(result, "unreached").detail());
  }

  @Test
  void littleMemoryShrinksTheRotation() {
    gpu.lastLevelCacheBytes(1 << 20);
    try (MoeDevice cached = gpu.open();
        MoeLayer cachedLayer = cached.prepare(spec, expert -> TestLayers.weights(spec))) {
      TunedOperation operation = operation(cachedLayer);
      memoryBudget = 4 * 512 * BYTES_PER_TOKEN + 1000;
      BucketResult byBudget = newSearch(operation, HOUR).search(512, 1, 1);
      assertEquals(Status.TUNED, byBudget.status());
      assertEquals(4, byBudget.copies());
      memoryBudget = 1L << 28;
      gpu.memoryBytes(5 * 512 * BYTES_PER_TOKEN);
      BucketResult byDevice = newSearch(operation, HOUR).search(512, 1, 1);
      assertEquals(Status.TUNED, byDevice.status());
      assertTrue(byDevice.copies() >= 2 && byDevice.copies() <= 4, () -> "" + byDevice.copies());
    }
  }

  @Test
  void tooLittleMemorySkipsTheBucketAndSaysSo() {
    memoryBudget = 1000;
    BucketResult byBudget = search(512);
    assertEquals(Status.SKIPPED, byBudget.status());
    assertTrue(byBudget.detail().contains("memory budget of 1000"), byBudget.detail());
    memoryBudget = 1L << 28;
    gpu.memoryBytes(1000);
    BucketResult byDevice = search(512);
    assertEquals(Status.SKIPPED, byDevice.status());
    assertTrue(byDevice.detail().contains("cannot allocate"), byDevice.detail());
    assertEquals(0, gpu.launches().size());
  }

  @Test
  void memoryThatPreparationLacksShrinksTheRotationToo() {
    gpu.lastLevelCacheBytes(1 << 20);
    gpu.tactics(FakeTactic.of("default", 100), FakeTactic.of("fast", 50));
    gpu.recordingGraphs(10_000);
    try (MoeDevice cached = gpu.open();
        MoeLayer cachedLayer = cached.prepare(spec, expert -> TestLayers.weights(spec))) {
      TunedOperation operation = operation(cachedLayer);
      // 16 copies of one token's inputs fit in, but the graph of 16 launches does not.
      gpu.memoryBytes(16 * BYTES_PER_TOKEN + gpu.workspaceBytes() + 159_999);
      BucketResult forDefault = newSearch(operation, HOUR).search(1, 1, 1);
      assertEquals(8, forDefault.copies(), forDefault::toString);
      assertEquals("fast", chosen(forDefault));
      // Nor do two of 8.
      gpu.memoryBytes(16 * BYTES_PER_TOKEN + gpu.workspaceBytes() + 100_000);
      BucketResult forChallenger = newSearch(operation, HOUR).search(1, 1, 1);
      assertEquals(4, forChallenger.copies(), forChallenger::toString);
      assertEquals("fast", chosen(forChallenger));
      // A workspace is no different.
      gpu.memoryBytes(1 << 20).workspaceBytes((1 << 20) - 5 * BYTES_PER_TOKEN - 90_000);
      assertEquals(4, newSearch(operation, HOUR).search(1, 1, 1).copies());
      gpu.workspaceBytes(1 << 20);
      BucketResult hopeless = newSearch(operation, HOUR).search(1, 1, 1);
      assertEquals(Status.SKIPPED, hopeless.status());
      assertTrue(hopeless.detail().contains("cannot allocate"), hopeless.detail());
      assertEquals(0, gpu.openTimings());
    }
  }

  @Test
  void aTacticThatASingleCopyHasNoMemoryForIsNotBlocked() {
    gpu.tactics(FakeTactic.of("default", 100), FakeTactic.of("greedy", 50));
    gpu.recordingGraphs(1000);
    gpu.memoryBytes(512 * BYTES_PER_TOKEN + gpu.workspaceBytes() + 1500);
    BucketResult result = search(512);
    assertEquals(Status.TUNED, result.status());
    assertEquals("default", chosen(result));
    assertEquals(Outcome.FAILED, timing(result, "greedy").outcome());
    assertFalse(timing(result, "greedy").outcome().isDefect());
  }

  // ---- tactics that misbehave

  @ParameterizedTest
  @EnumSource(names = {"WRONG", "INFINITE", "INCOMPLETE"})
  void aTacticWithAnotherResultCannotWin(Behaviour behaviour) {
    gpu.tactics(
        FakeTactic.of("default", 100),
        FakeTactic.of("cheat", 10).behaving(behaviour),
        FakeTactic.of("honest", 50));
    BucketResult result = search(16);
    assertEquals("honest", chosen(result));
    assertEquals(Outcome.REJECTED, timing(result, "cheat").outcome());
    assertFalse(timing(result, "cheat").detail().isEmpty());
  }

  @Test
  void aTacticThatWritesNothingDoesNotPassByItsPredecessorsOutput() {
    gpu.tactics(
        FakeTactic.of("default", 100), FakeTactic.of("lazy", 10).behaving(Behaviour.INCOMPLETE));
    BucketResult result = search(1);
    assertEquals("default", chosen(result));
    assertTrue(
        timing(result, "lazy").detail().contains("not written everywhere"),
        timing(result, "lazy").detail());
  }

  @ParameterizedTest
  @EnumSource(names = {"REFUSED", "FAULTING"})
  void aTacticThatFailsIsDroppedAndTheSearchGoesOn(Behaviour behaviour) {
    gpu.tactics(
        FakeTactic.of("default", 100),
        FakeTactic.of("broken", 10).behaving(behaviour),
        FakeTactic.of("honest", 50));
    BucketResult result = search(16);
    assertEquals(Status.TUNED, result.status());
    assertEquals("honest", chosen(result));
    assertEquals(
        behaviour == Behaviour.FAULTING ? Outcome.FAULTED : Outcome.FAILED,
        timing(result, "broken").outcome());
  }

  @Test
  void aTacticThatFailsLateIsDroppedToo() {
    gpu.tactics(
        FakeTactic.of("default", 100),
        FakeTactic.of(
            "flaky",
            (work, launch) -> {
              if (launch > 8) {
                throw new IllegalStateException("flaky");
              }
              return 10e3;
            }));
    BucketResult result = search(512);
    assertEquals("default", chosen(result));
    assertEquals(Outcome.FAILED, timing(result, "flaky").outcome());
  }

  @ParameterizedTest
  @EnumSource(names = {"REFUSED", "FAULTING", "INFINITE"})
  void withoutAReliableDefaultNothingIsChosen(Behaviour behaviour) {
    gpu.tactics(FakeTactic.of("default", 100).behaving(behaviour), FakeTactic.of("other", 50));
    BucketResult result = search(16);
    assertEquals(Status.FAILED, result.status());
    assertTrue(result.decisions().isEmpty());
    assertTrue(result.detail().contains("default"), result.detail());
  }

  @Test
  void aBucketThatHasNoTacticsFails() {
    gpu.tactics();
    BucketResult result = search(16);
    assertEquals(Status.FAILED, result.status());
    gpu.tactics(FakeTactic.of("default", 1));
  }

  @Test
  void blockedTacticsAreNotLaunched() {
    gpu.tactics(FakeTactic.of("default", 100), FakeTactic.of("blocked", 10));
    filter =
        (operation, runner, tactic) ->
            operation.equals("fused_moe") && runner.equals("layer") && tactic.equals("blocked")
                ? Optional.of("for a reason")
                : Optional.empty();
    BucketResult result = search(16);
    assertEquals("default", chosen(result));
    assertEquals(0, gpu.launches("blocked"));
    assertEquals("for a reason", timing(result, "blocked").detail());
  }

  @Test
  void aBlockedDefaultIsNotLaunchedEitherAndNothingIsChosen() {
    gpu.tactics(FakeTactic.of("default", 100), FakeTactic.of("other", 10));
    filter =
        (operation, runner, tactic) ->
            tactic.equals("default") ? Optional.of("SIGSEGV") : Optional.empty();
    BucketResult result = search(16);
    assertEquals(Status.FAILED, result.status());
    assertTrue(result.detail().contains("SIGSEGV"), result.detail());
    assertEquals(0, gpu.launches().size());
  }

  @Test
  void whatEndsItsProcessElsewhereIsNotLaunchedHere() {
    gpu.tactics(
        FakeTactic.of("default", 100), FakeTactic.of("deadly", 10), FakeTactic.of("fast", 50));
    List<String> rehearsed = new ArrayList<>();
    rehearsal =
        (candidate, tokens) -> {
          rehearsed.add(candidate.tactic() + " " + tokens);
          return candidate.tactic().name().equals("deadly")
              ? Optional.of("SIGSEGV")
              : Optional.empty();
        };
    BucketResult result = search(16);
    assertEquals("fast", chosen(result));
    assertEquals(List.of("default 16", "deadly 16", "fast 16"), rehearsed);
    assertEquals(0, gpu.launches("deadly"));
    assertEquals(Outcome.CRASHED, timing(result, "deadly").outcome());
    assertEquals("SIGSEGV", timing(result, "deadly").detail());
  }

  @Test
  void whatIsNotTriedHereIsNotTriedElsewhereEither() {
    gpu.tactics(
        FakeTactic.of("default", 1e6), FakeTactic.of("blocked", 1), FakeTactic.of("late", 1));
    filter =
        (operation, runner, tactic) ->
            tactic.equals("blocked") ? Optional.of("for a reason") : Optional.empty();
    List<String> rehearsed = new ArrayList<>();
    rehearsal =
        (candidate, tokens) -> {
          rehearsed.add(candidate.tactic().name());
          return Optional.empty();
        };
    newSearch(Duration.ofMillis(900)).search(512, 1, 1);
    assertEquals(List.of("default"), rehearsed);
  }

  @Test
  void aDefaultThatEndsItsProcessLeavesNothingToChoose() {
    gpu.tactics(FakeTactic.of("default", 100), FakeTactic.of("fast", 50));
    rehearsal = (candidate, tokens) -> Optional.of("SIGABRT");
    BucketResult result = search(16);
    assertEquals(Status.FAILED, result.status());
    assertTrue(result.detail().contains("SIGABRT"), result.detail());
    assertEquals(Outcome.CRASHED, timing(result, "default").outcome());
    assertEquals(0, gpu.launches().size());
  }

  // ---- clocks

  @Test
  void launchesThatADeviceCanRecordAreRecordedOnceAndReplayed() {
    gpu.recordingGraphs(0);
    gpu.tactics(
        FakeTactic.of("default", 100), FakeTactic.of("slow", 120), FakeTactic.of("fast", 50));
    BucketResult result = search(1);
    assertEquals("fast", chosen(result));
    assertEquals(3, gpu.recordings(), "graphs");
    assertEquals(0, gpu.eagerLaunches());
    assertTrue(result.copies() > 1);
    assertEquals(result.launches(), gpu.launches().size());
    assertTrue(gpu.launches("fast") >= (long) SearchOptions.DEFAULT.minPasses() * result.copies());
  }

  @Test
  void aTimeIsTheDevicesAndNotTheHosts() {
    gpu.recordingGraphs(0);
    gpu.tactics(FakeTactic.of("default", 100), FakeTactic.of("fast", 50));
    // A replay keeps the host busy for ten times as long.
    assertEquals(50_000, decision(search(512)).nanos(), 1e-6);
  }

  @Test
  void aTacticIsJudgedByWhatItsReplayWrites() {
    gpu.recordingGraphs(0);
    gpu.tactics(
        FakeTactic.of("default", 100),
        FakeTactic.of("cheat", 10).behaving(Behaviour.INCOMPLETE),
        FakeTactic.of("honest", 50));
    BucketResult result = search(16);
    assertEquals("honest", chosen(result));
    assertEquals(Outcome.REJECTED, timing(result, "cheat").outcome());
  }

  @Test
  void aDeviceClockThatRunsBackwardsDropsTheTactic() {
    gpu.tactics(
        FakeTactic.of("default", 100),
        FakeTactic.of("backwards", (work, launch) -> -50e3),
        FakeTactic.of("still", (work, launch) -> 0));
    BucketResult result = search(16);
    assertEquals("default", chosen(result));
    assertEquals(Outcome.FAULTED, timing(result, "backwards").outcome());
    assertEquals(Outcome.FAULTED, timing(result, "still").outcome());
  }

  @Test
  void oneJumpBackwardsOnlyCostsASample() {
    gpu.tactics(
        FakeTactic.of("default", (work, launch) -> launch == 5 ? -1e9 : 100e3),
        FakeTactic.of("fast", (work, launch) -> launch == 9 ? -1e9 : 50e3));
    BucketResult result = search(512);
    assertEquals(Status.TUNED, result.status());
    assertEquals("fast", chosen(result));
  }

  // ---- distributions

  @Test
  void eachDistributionHasItsOwnWinnerAndTheBlendAThird() {
    blend = Map.of(RoutingSkew.UNIFORM, 0.5, RoutingSkew.HOT, 0.5);
    gpu.tactics(
        FakeTactic.of("default", 100),
        FakeTactic.of("wide", (work, launch) -> work.hottestExpert() == 512 ? 70e3 : 104e3),
        FakeTactic.of("narrow", (work, launch) -> work.hottestExpert() == 512 ? 104e3 : 75e3),
        FakeTactic.of("even", (work, launch) -> 85e3));
    BucketResult result = search(512);
    assertEquals("wide", result.decisions().get(RoutingSkew.HOT).candidate().tactic().name());
    assertEquals("narrow", result.decisions().get(RoutingSkew.UNIFORM).candidate().tactic().name());
    assertEquals("even", result.decisions().get(RoutingSkew.UNKNOWN).candidate().tactic().name());
  }

  @Test
  void theWeightsOfTheBlendDecide() {
    blend = Map.of(RoutingSkew.UNIFORM, 0.1, RoutingSkew.HOT, 0.9);
    gpu.tactics(
        FakeTactic.of("default", 100),
        FakeTactic.of("wide", (work, launch) -> work.hottestExpert() == 512 ? 70e3 : 104e3),
        FakeTactic.of("even", (work, launch) -> 85e3));
    assertEquals(
        "wide", search(512).decisions().get(RoutingSkew.UNKNOWN).candidate().tactic().name());
  }

  private static double jitter(long seed, double share) {
    return 1 + share * (new SplittableRandom(seed).nextDouble() - 0.5) * 2;
  }

  private BucketResult search(long tokens) {
    return newSearch(HOUR).search(tokens, 1, 1);
  }

  private TacticSearch newSearch(Duration budget) {
    return newSearch(operation(layer), budget);
  }

  private TacticSearch newSearch(TunedOperation operation, Duration budget) {
    return new TacticSearch(
        operation,
        SearchOptions.DEFAULT,
        new SearchBudget(gpu.clock(), budget),
        memoryBudget,
        filter,
        rehearsal,
        SearchListener.NONE);
  }

  private TunedOperation operation(MoeLayer of) {
    return MoeOperation.of(
        of, CallKind.of(RoutingMode.UNPACKED), TokenBuckets.powersOfTwo(4096), blend);
  }

  private static Decision decision(BucketResult result) {
    return result.decisions().values().iterator().next();
  }

  private static String chosen(BucketResult result) {
    return decision(result).candidate().tactic().name();
  }

  private static TacticTiming timing(BucketResult result, String tactic) {
    return result.timings().stream()
        .filter(timing -> timing.tactic().equals(tactic))
        .findFirst()
        .orElseThrow();
  }
}
