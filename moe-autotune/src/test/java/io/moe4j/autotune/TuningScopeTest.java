package io.moe4j.autotune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.InvalidArgumentException;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.profile.TokenBuckets.Rounding;
import io.moe4j.autotune.search.SearchListener;
import io.moe4j.autotune.testing.FakeClock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

class TuningScopeTest {
  private static final TokenBuckets UNSCOPED = TokenBuckets.of(1, 2);

  private final FakeClock clock = new FakeClock();
  private final Autotuner tuner =
      Autotuner.create(TunerOptions.builder().ticker(clock).bundledPlans(false).build());

  @Test
  void anOutermostScopeProfilesWithTheTunersBucketsAndNoLimit() {
    try (TuningScope scope = tuner.tuning(TuningOptions.DEFAULT)) {
      assertTrue(scope.profiles());
      assertEquals(UNSCOPED, scope.buckets(UNSCOPED));
      clock.advance(1e18);
      assertFalse(scope.budget().expired());
      assertFalse(scope.skips("fused_moe"));
    }
  }

  @Test
  void anInnerScopeInheritsWhatItDoesNotSetAndGivesItBack() {
    TokenBuckets outerBuckets = TokenBuckets.of(100, 200);
    TokenBuckets innerBuckets = TokenBuckets.of(64, 512);
    try (TuningScope outer =
        tuner.tuning(
            TuningOptions.DEFAULT
                .withBuckets(outerBuckets)
                .withRounding(Rounding.CEILING)
                .withBudget(Duration.ofSeconds(5)))) {
      try (TuningScope inner = tuner.tuning(TuningOptions.DEFAULT)) {
        assertEquals(outer.buckets(UNSCOPED), inner.buckets(UNSCOPED));
        assertEquals(outer.budget(), inner.budget());
      }
      try (TuningScope inner = tuner.tuning(TuningOptions.DEFAULT.withBuckets(innerBuckets))) {
        assertEquals(innerBuckets.withRounding(Rounding.CEILING), inner.buckets(UNSCOPED));
      }
      try (TuningScope inner = tuner.tuning(TuningOptions.DEFAULT.withRounding(Rounding.FLOOR))) {
        assertEquals(outerBuckets, inner.buckets(UNSCOPED));
      }
      assertEquals(tuner.scopes().current(), outer);
      assertEquals(outerBuckets.withRounding(Rounding.CEILING), outer.buckets(UNSCOPED));
    }
    assertEquals(null, tuner.scopes().current());
  }

  @Test
  void roundingAloneAppliesToTheTunersOwnBuckets() {
    try (TuningScope scope = tuner.tuning(TuningOptions.DEFAULT.withRounding(Rounding.CEILING))) {
      assertEquals(UNSCOPED.withRounding(Rounding.CEILING), scope.buckets(UNSCOPED));
    }
  }

  @Test
  void skippedOperationsAddUpAndAreTakenBack() {
    try (TuningScope outer = tuner.tuning(TuningOptions.DEFAULT.withSkippedOperations("a"))) {
      try (TuningScope inner = tuner.tuning(TuningOptions.DEFAULT.withSkippedOperations("b"))) {
        assertTrue(inner.skips("a") && inner.skips("b") && !inner.skips("c"));
      }
      try (TuningScope inner = tuner.tuning(TuningOptions.DEFAULT.withSkippedOperations())) {
        assertTrue(inner.skips("a") && !inner.skips("b"));
      }
      assertTrue(outer.skips("a") && !outer.skips("b"));
    }
  }

  @Test
  void anInnerScopeCanSwitchProfilingOffAndOn() {
    try (TuningScope outer = tuner.tuning(TuningOptions.DEFAULT)) {
      try (TuningScope off = tuner.tuning(TuningOptions.DEFAULT.withProfile(false))) {
        assertFalse(off.profiles());
        try (TuningScope on = tuner.tuning(TuningOptions.DEFAULT.withProfile(true))) {
          assertTrue(on.profiles());
        }
        try (TuningScope inherited = tuner.tuning(TuningOptions.DEFAULT)) {
          assertFalse(inherited.profiles());
        }
      }
      assertTrue(outer.profiles());
    }
  }

  @Test
  void aListenerIsInherited() {
    SearchListener listener = new SearchListener() {};
    try (TuningScope outer = tuner.tuning(TuningOptions.DEFAULT.withListener(listener));
        TuningScope inner = tuner.tuning(TuningOptions.DEFAULT)) {
      assertEquals(listener, outer.listener());
      assertEquals(listener, inner.listener());
    }
  }

  @Test
  void scopesCloseFromTheInsideInTheirThreadAndOnce() throws InterruptedException {
    TuningScope outer = tuner.tuning(TuningOptions.DEFAULT);
    TuningScope inner = tuner.tuning(TuningOptions.DEFAULT);
    assertThrows(InvalidArgumentException.class, outer::close);
    List<Throwable> thrown = new ArrayList<>();
    Thread other =
        new Thread(
            () -> {
              try {
                inner.close();
              } catch (InvalidArgumentException e) {
                thrown.add(e);
              }
            });
    other.start();
    other.join();
    assertEquals(1, thrown.size());
    inner.close();
    inner.close();
    outer.close();
    assertFalse(tuner.isTuning());
  }

  @Test
  void tuningIsOnWhileAnyThreadsScopeProfiles() throws Exception {
    int threads = 8;
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    CountDownLatch opened = new CountDownLatch(threads);
    CountDownLatch close = new CountDownLatch(1);
    List<Future<?>> results = new ArrayList<>();
    for (int i = 0; i < threads; i++) {
      boolean profile = i % 2 == 0;
      results.add(
          pool.submit(
              () -> {
                try (TuningScope scope = tuner.tuning(TuningOptions.DEFAULT.withProfile(profile))) {
                  assertEquals(profile, scope.profiles());
                  opened.countDown();
                  close.await();
                }
                return null;
              }));
    }
    opened.await();
    assertTrue(tuner.isTuning());
    assertEquals(null, tuner.scopes().current());
    close.countDown();
    for (Future<?> result : results) {
      result.get();
    }
    pool.shutdown();
    assertFalse(tuner.isTuning());
  }
}
