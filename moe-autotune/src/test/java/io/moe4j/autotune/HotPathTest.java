package io.moe4j.autotune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.util.concurrent.Uninterruptibles;
import com.sun.management.ThreadMXBean;
import io.moe4j.MoeCall;
import io.moe4j.RoutingMode;
import io.moe4j.Tactic;
import io.moe4j.TacticSelector;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.store.Plan;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeTactic;
import io.moe4j.autotune.testing.TestLayers;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Launches whose tactic is known. */
class HotPathTest {
  private static final int WARM_UP = 20_000;
  private static final int RUNS = 10_000;

  private final ExecutorService pool = Executors.newFixedThreadPool(2);

  /** A failed test does not leave threads that go on looking up. */
  @AfterEach
  void endLookUps() throws InterruptedException {
    pool.shutdownNow();
    assertTrue(pool.awaitTermination(10, TimeUnit.SECONDS), "a look-up does not end");
  }

  @Test
  void aWarmLookUpAllocatesNothingHitOrMiss() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o);
        TestLayers.Call hit =
            new TestLayers.Call(tuned.device, tuned.spec, RoutingMode.PACKED, 16);
        TestLayers.Call miss =
            new TestLayers.Call(tuned.device, tuned.spec, RoutingMode.UNPACKED, 16)) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      TacticSelector selector = tuned.tuner.bind(tuned.layer);
      assertEquals(0, allocated(selector, hit.call()));
      assertEquals(0, allocated(selector, miss.call()));
      assertEquals(WARM_UP + RUNS, tuned.tuner.statistics().misses());
    }
  }

  private static long allocated(TacticSelector selector, MoeCall call) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    select(selector, call, WARM_UP);
    long idle = threads.getCurrentThreadAllocatedBytes();
    idle = threads.getCurrentThreadAllocatedBytes() - idle;
    long before = threads.getCurrentThreadAllocatedBytes();
    select(selector, call, RUNS);
    return threads.getCurrentThreadAllocatedBytes() - before - idle;
  }

  private static void select(TacticSelector selector, MoeCall call, int count) {
    for (int i = 0; i < count; i++) {
      if (selector.select(call) == null) {
        throw new AssertionError("no tactic");
      }
    }
  }

  @Test
  void aLookUpDuringAnImportIsNotRememberedAfterIt() throws Exception {
    Plan plan;
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      plan = tuned.tuner.exportPlan(tuned.device);
    }
    for (int round = 0; round < 50; round++) {
      try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o);
          TestLayers.Call call =
              new TestLayers.Call(tuned.device, tuned.spec, RoutingMode.PACKED, 16)) {
        TacticSelector selector = tuned.tuner.bind(tuned.layer);
        AtomicBoolean imported = new AtomicBoolean();
        List<Future<String>> firstAfter = new ArrayList<>();
        for (int thread = 0; thread < 2; thread++) {
          firstAfter.add(
              pool.submit(
                  () -> {
                    while (!imported.get() && !Thread.currentThread().isInterrupted()) {
                      selector.select(call.call());
                    }
                    return selector.select(call.call()).name();
                  }));
        }
        tuned.tuner.importPlan(plan, tuned.device);
        imported.set(true);
        for (Future<String> name : firstAfter) {
          assertEquals("many", name.get());
        }
      }
    }
  }

  @Test
  @Timeout(60)
  void aTuningInAnotherThreadKeepsNoWarmLaunchWaiting() throws Exception {
    CountDownLatch measuring = new CountDownLatch(1);
    CountDownLatch goOn = new CountDownLatch(1);
    AtomicBoolean slow = new AtomicBoolean();
    FakeGpu gpu =
        new FakeGpu(
            FakeTactic.of("default", 100),
            FakeTactic.of(
                "fast",
                (work, launch) -> {
                  if (slow.get()) {
                    measuring.countDown();
                    Uninterruptibles.awaitUninterruptibly(goOn);
                  }
                  return 50e3;
                }));
    try (Tuned tuned = new Tuned(gpu, o -> o);
        TestLayers.Call call =
            new TestLayers.Call(tuned.device, tuned.spec, RoutingMode.PACKED, 16)) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      TacticSelector selector = tuned.tuner.bind(tuned.layer);
      assertEquals("fast", selector.select(call.call()).name());
      slow.set(true);
      Thread tuning =
          new Thread(
              () ->
                  tuned.tuner.tune(
                      tuned.layer, CallKind.of(RoutingMode.UNPACKED), TuningOptions.DEFAULT));
      tuning.start();
      measuring.await();
      assertEquals("fast", selector.select(call.call()).name());
      assertTrue(tuned.tuner.coverage(tuned.layer, Tuned.PACKED, 16).isComplete());
      goOn.countDown();
      tuning.join();
    }
  }

  @Test
  void everyTokenCountUpToTheLargestHasAPlace() {
    SelectionTable table = new SelectionTable();
    long[] counts = {1, 2, 4096, 4097, 8192, 1 << 20, (1 << 24) - 1, 1 << 24};
    for (long tokens : counts) {
      assertEquals(null, table.get(tokens));
      table.put(tokens, new SelectionTable.Entry(new Tactic("t" + tokens, 0), true));
    }
    for (long tokens : counts) {
      assertEquals("t" + tokens, table.get(tokens).tactic().name());
    }
  }

  @Test
  void aCallWithoutTokensIsAnswered() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o.buckets(TokenBuckets.of(1)));
        TestLayers.Call none =
            new TestLayers.Call(tuned.device, tuned.spec, RoutingMode.PACKED, 0)) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals("few", tuned.tuner.bind(tuned.layer).select(none.call()).name());
    }
  }

  @Test
  void oneTableServesAllLayersOfAKind() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o);
        TestLayers.Call call =
            new TestLayers.Call(tuned.device, tuned.spec, RoutingMode.PACKED, 4)) {
      tuned.tuner.bind(tuned.layer).select(call.call());
      long before = tuned.tuner.statistics().misses();
      tuned.tuner.bind(tuned.layer).select(call.call());
      assertEquals(before + 1, tuned.tuner.statistics().misses());
      assertTrue(tuned.tuner.statistics().uncovered().size() == 1);
    }
  }
}
