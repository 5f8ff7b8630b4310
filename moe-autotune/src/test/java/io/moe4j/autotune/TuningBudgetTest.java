package io.moe4j.autotune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.RoutingMode;
import io.moe4j.autotune.search.BucketResult.Status;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Tuning with less time than it takes. */
class TuningBudgetTest {
  @TempDir private Path folder;

  /** How long tuning all buckets takes. */
  private static Duration enough() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      return tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT).elapsed();
    }
  }

  @Test
  void aBudgetThatEndsKeepsWhatIsFinishedAndTheRestIsTakenUpAgain() {
    Duration budget = enough().multipliedBy(9).dividedBy(10);
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o.cacheDirectory(folder))) {
      TuningReport report =
          tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT.withBudget(budget));
      Set<Status> statuses =
          report.results().stream().map(result -> result.status()).collect(Collectors.toSet());
      assertEquals(Set.of(Status.TUNED, Status.CUT_SHORT), statuses);
      long finished = report.results().stream().filter(r -> r.status() == Status.TUNED).count();
      TuningReport rest = tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertEquals(finished, rest.settled().size());
      assertEquals(7 - finished, rest.results().size());
      rest.results().forEach(result -> assertEquals(Status.TUNED, result.status()));
    }
  }

  @Test
  void aBudgetThatIsTooShortLeavesEveryBucketSomething() {
    Duration enough = enough();
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      TuningReport report =
          tuned.tuner.tune(
              tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT.withBudget(enough.dividedBy(2)));
      assertTrue(report.elapsed().compareTo(enough.multipliedBy(6).dividedBy(10)) < 0);
      report
          .results()
          .forEach(result -> assertTrue(result.decision().isPresent(), report::toString));
      assertEquals("many", tuned.run(RoutingMode.PACKED, 64));
    }
  }

  @Test
  void startAfterStartABudgetThatIsTooShortSettlesMoreUntilNothingIsLeft() {
    Duration budget = enough().dividedBy(2);
    List<Integer> settled = new ArrayList<>();
    TuningReport report = start(budget);
    assertEquals(7, report.results().stream().filter(r -> r.decision().isPresent()).count());
    while (!report.results().isEmpty() && settled.size() < 10) {
      report = start(budget);
      settled.add(report.settled().size());
    }
    assertEquals(settled.stream().sorted().distinct().toList(), settled, "more each time");
    assertEquals(7, report.settled().size());
    assertEquals(0, report.launches());
  }

  /** What a process with the tests' cache does. */
  private TuningReport start(Duration budget) {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o.cacheDirectory(folder))) {
      return tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT.withBudget(budget));
    }
  }
}
