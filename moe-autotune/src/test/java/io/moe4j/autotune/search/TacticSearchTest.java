package io.moe4j.autotune.search;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.RoutingSkew;
import io.moe4j.autotune.profile.TunedOperation;
import io.moe4j.autotune.search.BucketResult.Status;
import io.moe4j.autotune.search.TacticTiming.Outcome;
import io.moe4j.autotune.testing.FakeTactic;
import io.moe4j.autotune.testing.TestLayers;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Which tactic wins in a bucket, and what finding it costs. */
class TacticSearchTest extends SearchFixture {
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

  /**
   * On a machine with two speeds, a median is of one or the other: what ran side by side says more.
   */
  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
  void aTuningIsNoSlowerThanTheDefaultThatItBeat(long seed) {
    gpu.tactics(
        FakeTactic.of("default", (work, launch) -> 100e3 * speed(seed, launch)),
        FakeTactic.of("faster", (work, launch) -> 95e3 * speed(seed, launch)));
    Decision decision = decision(search(16));
    assertTrue(decision.speedup() >= 1, decision::toString);
  }

  /** Changes every few launches. */
  private static double speed(long seed, long launch) {
    return jitter(seed * 7919 + launch / 5, 1) > 1 ? 2 : 1;
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
}
