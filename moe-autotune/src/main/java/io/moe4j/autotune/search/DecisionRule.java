package io.moe4j.autotune.search;

import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * Says which tactic wins. The default is kept unless another beats it by more than the measured
 * noise; of winners that are about equally fast the one listed first is chosen, so that a second
 * run, or another rank, chooses the same.
 */
final class DecisionRule {
  private final SearchOptions options;

  DecisionRule(SearchOptions options) {
    this.options = options;
  }

  /** The winner with the reason; empty candidate to keep the default. */
  record Verdict(Optional<RelativeTime> winner, String reason) {}

  Verdict judge(List<RelativeTime> challengers) {
    Optional<RelativeTime> fastest =
        challengers.stream().min(Comparator.comparingDouble(RelativeTime::ratio));
    if (fastest.isEmpty()) {
      return new Verdict(Optional.empty(), "no other tactic could be measured");
    }
    Optional<RelativeTime> bestWinner =
        challengers.stream()
            .filter(this::wins)
            .min(Comparator.comparingDouble(RelativeTime::ratio));
    if (bestWinner.isEmpty()) {
      return new Verdict(
          Optional.empty(),
          text(
              "the best other tactic takes %.3f of its time, not below %.3f",
              fastest.get().ratio(), 1 - margin(fastest.get())));
    }
    double limit = bestWinner.get().ratio() * (1 + options.tieMargin());
    RelativeTime winner =
        challengers.stream()
            .filter(challenger -> wins(challenger) && challenger.ratio() <= limit)
            .min(Comparator.comparingInt(RelativeTime::order))
            .orElseThrow();
    return new Verdict(
        Optional.of(winner),
        text("takes %.3f of the default's time, below %.3f", winner.ratio(), 1 - margin(winner)));
  }

  /**
   * Whether more passes could change the verdict on a challenger: it is not known to within the
   * smallest gain that counts, or seems faster without having proven it.
   */
  boolean open(RelativeTime challenger) {
    boolean unproven = 1 - challenger.ratio() > options.minGain() && !wins(challenger);
    return challenger.noise() > options.minGain() || unproven;
  }

  /**
   * Whether more passes of a challenger could not make it the winner: it is slower than the default
   * or another by more than the noise of both.
   */
  boolean beaten(RelativeTime challenger, List<RelativeTime> challengers) {
    double surely =
        challengers.stream()
            .mapToDouble(other -> other.ratio() + options.noiseFactor() * other.noise())
            .reduce(1, Math::min);
    double atBest = challenger.ratio() - options.noiseFactor() * challenger.noise();
    return atBest > surely * (1 + options.tieMargin());
  }

  private boolean wins(RelativeTime challenger) {
    return 1 - challenger.ratio() > margin(challenger);
  }

  private double margin(RelativeTime challenger) {
    return Math.max(options.minGain(), options.noiseFactor() * challenger.noise());
  }

  private static String text(String format, Object... values) {
    return String.format(Locale.ROOT, format, values);
  }
}
