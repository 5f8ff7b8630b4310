package io.moe4j.autotune.search;

import io.moe4j.autotune.profile.Candidate;
import java.util.Optional;

/** Launches a tactic where it can do no harm, before a search launches it here. */
@FunctionalInterface
public interface Rehearsal {
  /** Launches nothing and finds nothing. */
  Rehearsal NONE = (candidate, tokens) -> Optional.empty();

  /** What a launch of so many tokens ended in; empty if all went well. */
  Optional<String> reasonAgainst(Candidate candidate, long tokens);
}
