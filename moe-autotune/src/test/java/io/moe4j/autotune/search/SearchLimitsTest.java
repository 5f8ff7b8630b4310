package io.moe4j.autotune.search;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.autotune.profile.TunedOperation;
import io.moe4j.autotune.search.BucketResult.Status;
import io.moe4j.autotune.search.TacticTiming.Outcome;
import io.moe4j.autotune.testing.FakeTactic;
import io.moe4j.autotune.testing.TestLayers;
import java.time.Duration;
import org.junit.jupiter.api.Test;

/** What a search does with too little time or memory. */
class SearchLimitsTest extends SearchFixture {
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
}
