package io.moe4j.autotune;

import com.google.common.collect.ImmutableList;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * Which token counts have a tuning: to be looked at before a server takes traffic or records a
 * graph, which keeps whatever tactic it was recorded with.
 *
 * @param shapes one for each token count that was asked for
 */
public record Coverage(ImmutableList<Shape> shapes) {

  /**
   * What one token count gets.
   *
   * @param tokens the token count
   * @param selection its tactic, and where that is from
   */
  public record Shape(long tokens, Selection selection) {}

  /** Whether every token count is covered. */
  public boolean isComplete() {
    return shapes.stream().allMatch(shape -> shape.selection().covered());
  }

  /** Refuses uncovered token counts. */
  public void requireComplete() {
    if (!isComplete()) {
      String uncovered =
          shapes.stream()
              .filter(shape -> !shape.selection().covered())
              .map(shape -> Long.toString(shape.tokens()))
              .collect(Collectors.joining(", "));
      throw new UncoveredShapeException(
          "no tuning covers these token counts: " + uncovered + "; tune them or import a plan");
    }
  }

  /** The report for people. */
  @Override
  public String toString() {
    return shapes.stream()
        .map(
            shape ->
                String.format(
                    Locale.ROOT,
                    "%8d tokens: %s %s%s%n",
                    shape.tokens(),
                    shape.selection().candidate(),
                    shape.selection().source().name().toLowerCase(Locale.ROOT),
                    shape.selection().covered() || shape.selection().bucket().isEmpty()
                        ? ""
                        : ", the nearest: " + shape.selection().bucket().getAsLong() + " tokens"))
        .collect(Collectors.joining());
  }
}
