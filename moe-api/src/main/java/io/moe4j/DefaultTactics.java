package io.moe4j;

import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * The back end's own choice, which it is asked for once for each number of tokens: a tactic of one
 * number may not take the next. Reading takes no lock and allocates nothing; two threads that miss
 * together write the same. Pages are made as they are needed.
 */
final class DefaultTactics implements TacticSelector {
  private static final int PAGE_BITS = 12;
  private static final int PAGE = 1 << PAGE_BITS;

  private final MoeLayer layer;
  private final AtomicReferenceArray<AtomicReferenceArray<Tactic>> pages =
      new AtomicReferenceArray<>((int) (MoeLayer.MAX_TOKENS >>> PAGE_BITS));

  DefaultTactics(MoeLayer layer) {
    this.layer = layer;
  }

  @Override
  public Tactic select(MoeCall call) {
    // A call without tokens does nothing, with any tactic.
    int index = (int) Math.max(call.tokens(), 1) - 1;
    AtomicReferenceArray<Tactic> page = pages.get(index >>> PAGE_BITS);
    Tactic tactic = page == null ? null : page.get(index & (PAGE - 1));
    return tactic == null ? lookUp(index) : tactic;
  }

  private Tactic lookUp(int index) {
    Tactic tactic = layer.tactics(index + 1).get(0);
    pages.compareAndSet(index >>> PAGE_BITS, null, new AtomicReferenceArray<>(PAGE));
    pages.get(index >>> PAGE_BITS).set(index & (PAGE - 1), tactic);
    return tactic;
  }
}
