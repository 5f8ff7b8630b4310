package io.moe4j.autotune.search;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.autotune.search.BucketResult.Status;
import io.moe4j.autotune.search.TacticTiming.Outcome;
import io.moe4j.autotune.testing.FakeTactic;
import io.moe4j.autotune.testing.FakeTactic.Behaviour;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Tactics that compute wrong results, fail, or would end the process never win. */
class MisbehavingTacticsTest extends SearchFixture {
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
}
