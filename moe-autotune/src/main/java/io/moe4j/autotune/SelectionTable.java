package io.moe4j.autotune;

import io.moe4j.MoeLayer;
import io.moe4j.Tactic;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * Remembers the tactic of each token count that was asked for. Reading takes no lock and allocates
 * nothing; two threads that miss together write the same. Pages are made as they are needed.
 */
final class SelectionTable {
  private static final int PAGE_BITS = 12;
  private static final int PAGE = 1 << PAGE_BITS;

  private final AtomicReferenceArray<AtomicReferenceArray<Entry>> pages =
      new AtomicReferenceArray<>((int) (MoeLayer.MAX_TOKENS >>> PAGE_BITS));

  /** A remembered tactic, and whether a tuning covers its token count. */
  record Entry(Tactic tactic, boolean covered) {}

  /** What is remembered for 1 to {@link MoeLayer#MAX_TOKENS} tokens, or null. */
  Entry get(long tokens) {
    int index = (int) tokens - 1;
    AtomicReferenceArray<Entry> page = pages.get(index >>> PAGE_BITS);
    return page == null ? null : page.get(index & (PAGE - 1));
  }

  void put(long tokens, Entry entry) {
    int index = (int) tokens - 1;
    AtomicReferenceArray<Entry> page = pages.get(index >>> PAGE_BITS);
    if (page == null) {
      pages.compareAndSet(index >>> PAGE_BITS, null, new AtomicReferenceArray<>(PAGE));
      page = pages.get(index >>> PAGE_BITS);
    }
    page.set(index & (PAGE - 1), entry);
  }
}
