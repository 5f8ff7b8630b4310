package io.moe4j.autotune.search;

import com.google.common.collect.ImmutableMap;
import io.moe4j.RoutingSkew;
import java.util.OptionalDouble;

/**
 * What a search found out about one tactic.
 *
 * @param runner name of the runner
 * @param tactic name of the tactic
 * @param outcome how far it came
 * @param detail why it came no further; empty for {@link Outcome#MEASURED}
 * @param nanos time of a launch, blended over the profiled distributions; empty if it was not timed
 *     for all of them
 * @param medianNanos median time of a launch for each distribution that was timed
 * @param samples timed runs, over all distributions
 */
public record TacticTiming(
    String runner,
    String tactic,
    Outcome outcome,
    String detail,
    OptionalDouble nanos,
    ImmutableMap<RoutingSkew, Double> medianNanos,
    int samples) {

  /** How far a tactic came. */
  public enum Outcome {
    /** Measured to the end of the search. */
    MEASURED,
    /** Too slow: not measured any further. */
    ELIMINATED,
    /** Too slow for fewer tokens already: not tried. */
    HOPELESS,
    /** On the blocklist: not tried. */
    BLOCKLISTED,
    /** A launch of it was refused or failed. */
    FAILED,
    /** It ended the process that it was tried in: never to be tried again. */
    CRASHED,
    /** The device reported a failure while it ran: never to be tried again. */
    FAULTED,
    /** Its output disagreed with the default's: never to be tried again. */
    REJECTED;

    /** Whether a tactic that came to this end did not do what it should. */
    public boolean isFailure() {
      return this == FAILED || isDefect();
    }

    /** Whether a tactic that came to this end belongs on the blocklist. */
    public boolean isDefect() {
      return this == CRASHED || this == FAULTED || this == REJECTED;
    }
  }
}
