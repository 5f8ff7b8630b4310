package io.moe4j.tests.routing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.DeviceCounters;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.RoutingMode;
import io.moe4j.Workspace;
import io.moe4j.autotune.Autotuner;
import io.moe4j.autotune.TunerOptions;
import io.moe4j.autotune.TuningOptions;
import io.moe4j.autotune.TuningReport;
import io.moe4j.autotune.TuningScope;
import io.moe4j.autotune.TuningSource;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.Judge;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestLayer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The tuner on the real device, with 16 experts of which 4 are chosen, for 1 and 16 tokens: what it
 * profiles takes the path that production takes, and what it learns of one path is not used for the
 * other.
 */
class PrecomputedTuningTest {
  private static final LayerDraw DRAW = LayerDraw.PLAIN.sizes(2, 2).experts(16, 4);

  @TempDir Path cache;

  private final TestLayer numbers = DRAW.layer();
  private Autotuner tuner;
  private MoeDevice device;
  private MoeLayer layer;

  @BeforeEach
  void open() {
    tuner =
        Autotuner.create(
            TunerOptions.builder()
                .cacheDirectory(cache)
                .bundledPlans(false)
                .buckets(TokenBuckets.of(1, 16))
                .build());
    device = TestDevice.open();
    layer = device.prepare(numbers.spec(), numbers, tuner);
  }

  @AfterEach
  void close() {
    layer.close();
    device.close();
  }

  @ParameterizedTest
  @EnumSource(RoutingMode.class)
  void profilesTakeTheirOwnPath(RoutingMode mode) {
    DeviceCounters before = device.counters();
    TuningReport report = tuner.tune(layer, CallKind.of(mode), TuningOptions.DEFAULT);
    DeviceCounters after = device.counters();
    assertEquals(2, report.results().size(), report::toString);
    long launches = after.launches() - before.launches();
    // Those that were timed, and captured ones once for all their replays.
    assertTrue(launches > 0 && report.launches() > 0, report::toString);
    assertEquals(
        mode == RoutingMode.FROM_LOGITS ? launches : 0,
        after.routingLaunches() - before.routingLaunches());
    tuner.coverage(layer, CallKind.of(mode), 1, 16).requireComplete();
    assertEquals(before.liveBytes(), after.liveBytes(), "bytes that profiling left behind");
  }

  @ParameterizedTest
  @EnumSource(RoutingMode.class)
  void aCallInAScopeTunesItsOwnPathAndIsRight(RoutingMode mode) {
    for (int tokens : new int[] {1, 16}) {
      LayerDraw draw = DRAW.tokens(tokens).mode(mode);
      try (DeviceCall call = new DeviceCall(device, numbers.spec(), draw.call());
          Workspace workspace = layer.newWorkspace(tokens)) {
        call.poison();
        DeviceCounters before = device.counters();
        try (TuningScope scope = tuner.tuning(TuningOptions.DEFAULT)) {
          assertTrue(scope.profiles());
          layer.run(call.call(), workspace);
        }
        device.synchronize(io.moe4j.Stream.DEFAULT);
        DeviceCounters after = device.counters();
        new Judge(numbers, draw.call()).check(call.call(), "in a scope, " + draw);
        assertEquals(
            mode == RoutingMode.FROM_LOGITS ? after.launches() - before.launches() : 0,
            after.routingLaunches() - before.routingLaunches());
      }
    }
  }

  @Test
  void pathsHaveTheirOwnKeysAndEntries() throws Exception {
    for (RoutingMode mode : RoutingMode.values()) {
      for (RoutingMode other : RoutingMode.values()) {
        if (mode != other) {
          TuningKey key = TuningKey.of(layer, CallKind.of(mode), 16);
          TuningKey otherKey = TuningKey.of(layer, CallKind.of(other), 16);
          assertNotEquals(key, otherKey);
          assertNotEquals(key.hash(), otherKey.hash());
        }
      }
    }
    tuner.tune(layer, CallKind.of(RoutingMode.UNPACKED), TuningOptions.DEFAULT);
    long entries = entries();
    assertFalse(tuner.coverage(layer, CallKind.of(RoutingMode.FROM_LOGITS), 1, 16).isComplete());
    assertFalse(tuner.coverage(layer, CallKind.of(RoutingMode.PACKED), 1, 16).isComplete());
    tuner.tune(layer, CallKind.of(RoutingMode.FROM_LOGITS), TuningOptions.DEFAULT);
    assertEquals(2 * entries, entries(), "files in the cache");
  }

  @Test
  void aSecondStartProfilesNothing() {
    CallKind kind = CallKind.of(RoutingMode.PACKED);
    tuner.tune(layer, kind, TuningOptions.DEFAULT);
    Autotuner second =
        Autotuner.create(
            TunerOptions.builder()
                .cacheDirectory(cache)
                .bundledPlans(false)
                .buckets(TokenBuckets.of(1, 16))
                .build());
    try (MoeLayer again = device.prepare(numbers.spec(), numbers, second)) {
      long launches = device.counters().launches();
      TuningReport report = second.tune(again, kind, TuningOptions.DEFAULT);
      assertEquals(0, report.launches(), report::toString);
      assertEquals(launches, device.counters().launches());
      assertEquals(
          TuningSource.CACHED,
          second.coverage(again, kind, 16).shapes().get(0).selection().source());
    }
  }

  private long entries() throws Exception {
    try (Stream<Path> files = Files.walk(cache)) {
      return files.filter(file -> file.toString().matches(".*/[0-9a-f]{32}[.]json")).count();
    }
  }
}
