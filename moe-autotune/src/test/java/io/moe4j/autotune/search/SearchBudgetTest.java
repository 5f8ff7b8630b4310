package io.moe4j.autotune.search;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.autotune.testing.FakeClock;
import java.time.Duration;
import org.junit.jupiter.api.Test;

class SearchBudgetTest {
  private final FakeClock clock = new FakeClock();

  @Test
  void endsWhenItsTimeIsSpent() {
    SearchBudget budget = new SearchBudget(clock, Duration.ofSeconds(2));
    clock.advance(1.5e9);
    assertFalse(budget.expired());
    assertEquals(Duration.ofMillis(500), budget.remaining());
    clock.advance(0.5e9);
    assertTrue(budget.expired());
    assertEquals(Duration.ZERO, budget.remaining());
  }

  @Test
  void aClockThatJumpsBackGivesNoTimeAndTakesNone() {
    SearchBudget budget = new SearchBudget(clock, Duration.ofSeconds(2));
    clock.advance(1e9);
    assertEquals(Duration.ofSeconds(1), budget.spent());
    clock.advance(-3600e9);
    assertEquals(Duration.ofSeconds(1), budget.spent());
    clock.advance(1e9);
    assertTrue(budget.expired());
  }

  @Test
  void withoutALimitItNeverEnds() {
    SearchBudget budget = new SearchBudget(clock, Duration.ofSeconds(Long.MAX_VALUE));
    clock.advance(1e18);
    assertFalse(budget.expired());
  }

  @Test
  void noTimeIsOverAtOnce() {
    assertTrue(new SearchBudget(clock, Duration.ZERO).expired());
  }
}
