package io.moe4j;

/**
 * Chooses the tactic of each launch of one layer. On the hot path: no locks, and no allocation for
 * a shape that was asked for before.
 */
@FunctionalInterface
public interface TacticSelector {

  /** The tactic for a call, valid for its number of tokens. Safe from any thread. */
  Tactic select(MoeCall call);

  /** Makes selectors: what a tuner is to a layer. */
  @FunctionalInterface
  interface Source {
    /** The selector of a layer, asked once when the layer is prepared. */
    TacticSelector bind(MoeLayer layer);

    /** The back end's default tactic for each call's number of tokens. */
    Source DEFAULT = DefaultTactics::new;
  }
}
