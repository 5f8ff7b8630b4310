package io.moe4j.autotune.search;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableList;
import io.moe4j.Tactic;
import io.moe4j.autotune.profile.Candidate;
import io.moe4j.autotune.testing.FakeClock;
import io.moe4j.autotune.testing.FakeRunner;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class DecisionRuleTest {
  private final DecisionRule rule = new DecisionRule(SearchOptions.DEFAULT);

  @Test
  void theDefaultStaysWhereNothingElseRan() {
    assertEquals(Optional.empty(), rule.judge(List.of()).winner());
  }

  @Test
  void aGainWithinTheNoiseIsNoGain() {
    assertEquals(Optional.empty(), winner(challenger(1, 0.95, 0.021)));
    assertEquals(Optional.of(1), winner(challenger(1, 0.95, 0.019)));
  }

  @Test
  void aCertainGainThatIsTooSmallIsNoGain() {
    assertEquals(Optional.empty(), winner(challenger(1, 0.995, 0)));
    assertEquals(Optional.of(1), winner(challenger(1, 0.985, 0)));
  }

  @Test
  void theFastestWins() {
    assertEquals(
        Optional.of(2),
        winner(challenger(1, 0.9, 0.001), challenger(2, 0.7, 0.001), challenger(3, 0.8, 0.001)));
  }

  @Test
  void ofEqualsTheFirstListedWinsWhicheverWasLuckier() {
    assertEquals(Optional.of(2), winner(challenger(3, 0.700, 0.001), challenger(2, 0.703, 0.001)));
    assertEquals(Optional.of(2), winner(challenger(3, 0.703, 0.001), challenger(2, 0.700, 0.001)));
  }

  @Test
  void aCertainWinnerBeatsAFasterOneThatMayBeSlow() {
    assertEquals(Optional.of(2), winner(challenger(1, 0.70, 0.2), challenger(2, 0.80, 0.001)));
  }

  @Test
  void isOpenWhileMoreSamplesCouldTell() {
    assertTrue(rule.open(challenger(1, 0.9, 0.05)), "too noisy");
    assertTrue(rule.open(challenger(1, 0.98, 0.009)), "seems faster");
    assertFalse(rule.open(challenger(1, 0.9, 0.005)), "faster");
    assertFalse(rule.open(challenger(1, 1.2, 0.005)), "slower");
    assertFalse(rule.open(challenger(1, 1.0, 0.001)), "equal");
  }

  @Test
  void isBeatenWhatIsSlowerBeyondTheNoiseOfBoth() {
    RelativeTime fast = challenger(1, 0.80, 0.01);
    RelativeTime perhaps = challenger(2, 0.85, 0.015);
    RelativeTime surely = challenger(3, 0.90, 0.01);
    List<RelativeTime> all = List.of(fast, perhaps, surely);
    assertFalse(rule.beaten(fast, all), "by none");
    assertFalse(rule.beaten(perhaps, all), "0.825 is the least that both can have");
    assertTrue(rule.beaten(surely, all), "0.875 at best, 0.825 at worst");
  }

  @Test
  void isBeatenByTheDefaultWhatIsSlowerThanIt() {
    RelativeTime slower = challenger(1, 1.04, 0.01);
    assertTrue(rule.beaten(slower, List.of(slower)));
    RelativeTime aTie = challenger(1, 1.03, 0.01);
    assertFalse(rule.beaten(aTie, List.of(aTie)));
  }

  private Optional<Integer> winner(RelativeTime... challengers) {
    return rule.judge(ImmutableList.copyOf(challengers)).winner().map(RelativeTime::order);
  }

  private static RelativeTime challenger(int order, double ratio, double noise) {
    FakeRunner runner = new FakeRunner("r", new FakeClock());
    return new RelativeTime(
        new Candidate(runner, new Tactic("t" + order, order)), order, ratio, noise);
  }
}
