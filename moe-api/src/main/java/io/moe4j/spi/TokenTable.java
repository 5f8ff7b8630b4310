package io.moe4j.spi;

import io.moe4j.MoeLayer;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * Remembers something for each number of tokens that was asked for. Reading takes no lock and
 * allocates nothing; of two threads that write the same number, one is remembered. Pages are made
 * as they are needed. Safe from any thread.
 *
 * @param <T> what is remembered
 */
public class TokenTable<T> {
  private static final int PAGE_BITS = 12;
  private static final int PAGE = 1 << PAGE_BITS;

  private final AtomicReferenceArray<AtomicReferenceArray<T>> pages =
      new AtomicReferenceArray<>((int) (MoeLayer.MAX_TOKENS >>> PAGE_BITS));

  /** An empty table. */
  public TokenTable() {}

  /** What is remembered for 1 to {@link MoeLayer#MAX_TOKENS} tokens, or null. */
  public final T get(long tokens) {
    int index = (int) tokens - 1;
    AtomicReferenceArray<T> page = pages.get(index >>> PAGE_BITS);
    return page == null ? null : page.get(index & (PAGE - 1));
  }

  /** Remembers something for 1 to {@link MoeLayer#MAX_TOKENS} tokens. */
  public final void put(long tokens, T remembered) {
    int index = (int) tokens - 1;
    AtomicReferenceArray<T> page = pages.get(index >>> PAGE_BITS);
    if (page == null) {
      pages.compareAndSet(index >>> PAGE_BITS, null, new AtomicReferenceArray<>(PAGE));
      page = pages.get(index >>> PAGE_BITS);
    }
    page.set(index & (PAGE - 1), remembered);
  }
}
