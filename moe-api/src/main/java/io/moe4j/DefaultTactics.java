package io.moe4j;

import io.moe4j.spi.TokenTable;

/**
 * The back end's own choice, which it is asked for once for each number of tokens: a tactic of one
 * number may not take the next. Two threads that miss together remember the same.
 */
final class DefaultTactics implements TacticSelector {
  private final MoeLayer layer;
  private final TokenTable<Tactic> tactics = new TokenTable<>();

  DefaultTactics(MoeLayer layer) {
    this.layer = layer;
  }

  @Override
  public Tactic select(MoeCall call) {
    // A call without tokens does nothing, with any tactic.
    long tokens = Math.max(call.tokens(), 1);
    Tactic tactic = tactics.get(tokens);
    return tactic == null ? lookUp(tokens) : tactic;
  }

  private Tactic lookUp(long tokens) {
    Tactic tactic = layer.tactics(tokens).get(0);
    tactics.put(tokens, tactic);
    return tactic;
  }
}
