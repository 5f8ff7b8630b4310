package io.moe4j.autotune.search;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeSpec;
import io.moe4j.RoutingMode;
import io.moe4j.RoutingSkew;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.MoeOperation;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.profile.TunedOperation;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeTactic;
import io.moe4j.autotune.testing.TestLayers;
import java.time.Duration;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;

/**
 * A search over one layer of a GPU whose clock only launches move; each test leaves nothing open.
 */
abstract class SearchFixture {
  static final Duration HOUR = Duration.ofHours(1);

  /** BF16 input and output, experts and weights. */
  static final long BYTES_PER_TOKEN = 2 * 32 + 2 * 32 + 4 * 4 + 4 * 4;

  static final Map<RoutingSkew, Double> UNIFORM = Map.of(RoutingSkew.UNIFORM, 1.0);

  final FakeGpu gpu = new FakeGpu(FakeTactic.of("default", 100));
  final MoeSpec spec = TestLayers.spec().build();
  MoeDevice device;
  MoeLayer layer;
  Map<RoutingSkew, Double> blend = UNIFORM;
  TacticFilter filter = TacticFilter.NONE;
  Rehearsal rehearsal = Rehearsal.NONE;
  long memoryBudget = 1L << 28;

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

  static double jitter(long seed, double share) {
    return 1 + share * (new SplittableRandom(seed).nextDouble() - 0.5) * 2;
  }

  BucketResult search(long tokens) {
    return newSearch(HOUR).search(tokens, 1, 1);
  }

  TacticSearch newSearch(Duration budget) {
    return newSearch(operation(layer), budget);
  }

  TacticSearch newSearch(TunedOperation operation, Duration budget) {
    return new TacticSearch(
        operation,
        SearchOptions.DEFAULT,
        new SearchBudget(gpu.clock(), budget),
        memoryBudget,
        filter,
        rehearsal,
        SearchListener.NONE);
  }

  TunedOperation operation(MoeLayer of) {
    return MoeOperation.of(
        of, CallKind.of(RoutingMode.UNPACKED), TokenBuckets.powersOfTwo(4096), blend);
  }

  static Decision decision(BucketResult result) {
    return result.decisions().values().iterator().next();
  }

  static String chosen(BucketResult result) {
    return decision(result).candidate().tactic().name();
  }

  static TacticTiming timing(BucketResult result, String tactic) {
    return result.timings().stream()
        .filter(timing -> timing.tactic().equals(tactic))
        .findFirst()
        .orElseThrow();
  }
}
