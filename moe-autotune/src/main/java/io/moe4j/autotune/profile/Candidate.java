package io.moe4j.autotune.profile;

import io.moe4j.Tactic;

/**
 * A runner with one of its tactics.
 *
 * @param runner who runs
 * @param tactic how
 */
public record Candidate(TunableRunner runner, Tactic tactic) {

  /** Whether this is what a cache or plan calls by these names. */
  public boolean isNamed(String runnerName, String tacticName) {
    return runner.name().equals(runnerName) && tactic.name().equals(tacticName);
  }

  /** "runner/tactic". */
  @Override
  public String toString() {
    return runner.name() + "/" + tactic.name();
  }
}
