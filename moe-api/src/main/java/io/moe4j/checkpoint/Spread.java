package io.moe4j.checkpoint;

/**
 * How far a set of numbers spreads.
 *
 * @param count how many were looked at, NaNs included
 * @param min smallest, positive infinity if there is none
 * @param max largest, negative infinity if there is none
 * @param nans how many are not a number
 */
public record Spread(long count, double min, double max, long nans) {
  /** Of no numbers. */
  public static final Spread NONE =
      new Spread(0, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, 0);

  /** This spread with {@code times} more occurrences of a number. */
  Spread plus(double value, long times) {
    if (times == 0) {
      return this;
    }
    return Double.isNaN(value)
        ? new Spread(count + times, min, max, nans + times)
        : new Spread(count + times, Math.min(min, value), Math.max(max, value), nans);
  }
}
