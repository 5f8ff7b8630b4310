package io.moe4j.autotune.profile;

import io.moe4j.InvalidArgumentException;

/**
 * Token counts that one bucket's tactic serves.
 *
 * @param from smallest, at least 1
 * @param to largest, itself included
 */
public record TokenRange(long from, long to) {

  /** Refuses an empty range and one that starts below 1. */
  public TokenRange {
    if (from < 1 || to < from) {
      throw new InvalidArgumentException("range", from + "-" + to, "1 <= from <= to");
    }
  }

  /** Whether a token count is served. */
  public boolean contains(long tokens) {
    return from <= tokens && tokens <= to;
  }

  /** Reads what {@link #toString} wrote. */
  public static TokenRange parse(String text) {
    int dash = text.indexOf('-');
    try {
      return dash < 0
          ? new TokenRange(Long.parseLong(text), Long.parseLong(text))
          : new TokenRange(
              Long.parseLong(text.substring(0, dash)), Long.parseLong(text.substring(dash + 1)));
    } catch (NumberFormatException e) {
      throw new InvalidArgumentException("range", '"' + text + '"', "\"FROM-TO\"", e);
    }
  }

  /** "FROM-TO", or one number. */
  @Override
  public String toString() {
    return from == to ? Long.toString(from) : from + "-" + to;
  }
}
