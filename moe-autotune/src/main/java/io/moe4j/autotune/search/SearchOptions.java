package io.moe4j.autotune.search;

import io.moe4j.InvalidArgumentException;

/**
 * How hard to look for the best tactic, and what it takes to win.
 *
 * @param minPasses timed passes of each finalist; at least 3, without which no noise is known
 * @param maxPasses where a decision that is still too close ends
 * @param keepOneIn successive halving: of so many tactics one survives a round
 * @param finalists no more rounds once so few challengers are left
 * @param minGain a winner must be faster than the default by at least this share...
 * @param noiseFactor ...and by at least so many standard errors of the measurement
 * @param tieMargin winners within this share of the fastest are equal: the first listed is chosen
 * @param abandonFactor a tactic that twice takes so many times as long as the best so far, for
 *     whichever distribution, is dropped at once; where launches are long, so is one that takes the
 *     square of it once
 */
public record SearchOptions(
    int minPasses,
    int maxPasses,
    int keepOneIn,
    int finalists,
    double minGain,
    double noiseFactor,
    double tieMargin,
    double abandonFactor) {

  /** What the tuner uses unless told otherwise. */
  public static final SearchOptions DEFAULT = new SearchOptions(5, 25, 3, 3, 0.01, 2.5, 0.01, 1.5);

  /** Refuses numbers with which no decision can be made. */
  public SearchOptions {
    check("minPasses", minPasses, minPasses >= 3, "at least 3");
    check("maxPasses", maxPasses, maxPasses >= minPasses, "at least minPasses = " + minPasses);
    check("keepOneIn", keepOneIn, keepOneIn >= 2, "at least 2");
    check("finalists", finalists, finalists >= 1, "at least 1");
    check("minGain", minGain, minGain >= 0 && minGain < 1, "0 <= minGain < 1");
    check("noiseFactor", noiseFactor, noiseFactor >= 0, "at least 0");
    check("tieMargin", tieMargin, tieMargin >= 0, "at least 0");
    check("abandonFactor", abandonFactor, abandonFactor > 1, "more than 1");
  }

  private static void check(String name, Object found, boolean valid, String expected) {
    if (!valid) {
      throw new InvalidArgumentException(name, found, expected);
    }
  }

  /** These options with other numbers of passes. */
  public SearchOptions withPasses(int minPasses, int maxPasses) {
    return new SearchOptions(
        minPasses, maxPasses, keepOneIn, finalists, minGain, noiseFactor, tieMargin, abandonFactor);
  }
}
