package io.moe4j.autotune.search;

import java.util.Optional;

/** Keeps tactics out of a search. */
@FunctionalInterface
public interface TacticFilter {
  /** Keeps none out. */
  TacticFilter NONE = (operation, runner, tactic) -> Optional.empty();

  /** Why a tactic must not be run; empty if it may. */
  Optional<String> reasonAgainst(String operation, String runner, String tactic);
}
