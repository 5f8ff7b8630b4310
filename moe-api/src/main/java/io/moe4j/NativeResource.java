package io.moe4j;

import java.lang.ref.Cleaner;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The life of one native resource: open, in use by any number of calls, closed once. Whoever
 * forgets to close it is helped by a {@link Cleaner} and counted. Using it after close, and closing
 * it while in use, are exceptions, never crashes.
 *
 * <p>Whoever calls native code with the resource has to keep its owner reachable until the call has
 * returned ({@link java.lang.ref.Reference#reachabilityFence}): a use does not.
 */
final class NativeResource {
  private static final Cleaner CLEANER = Cleaner.create();
  private static final AtomicLong LEAKED = new AtomicLong();
  private static final int CLOSED = Integer.MIN_VALUE;

  private final State state;
  private final Cleaner.Cleanable cleanable;

  /**
   * Watches {@code owner}, and runs {@code release} once, when closed or found unreachable.
   *
   * @param owner the object that users hold; {@code release} must not refer to it, but may refer to
   *     what has to outlive it
   * @param what name of the resource for messages
   */
  NativeResource(Object owner, String what, Runnable release) {
    this.state = new State(what, release);
    this.cleanable = CLEANER.register(owner, state);
  }

  /** Resources that were freed by the cleaner because nobody closed them, since start-up. */
  static long leaked() {
    return LEAKED.get();
  }

  /** Keeps an object from being collected as long as another, which lives off it, is reachable. */
  static void keepReachable(Object kept, Object dependent) {
    CLEANER.register(dependent, new Keeper(kept));
  }

  private record Keeper(Object kept) implements Runnable {
    @Override
    public void run() {}
  }

  /** Begins a use; pairs with {@link #release}. */
  void acquire() {
    int uses;
    do {
      uses = state.uses.get();
      if (uses == CLOSED) {
        throw new ClosedException(state.what + " was closed before it was used");
      }
    } while (!state.uses.compareAndSet(uses, uses + 1));
  }

  /** Ends a use. */
  void release() {
    state.uses.decrementAndGet();
  }

  /** Whether it has uses beside the caller's own. */
  boolean isShared() {
    return state.uses.get() > 1;
  }

  /** Refuses a closed resource; a check without a guarantee for later. */
  void check() {
    if (state.uses.get() == CLOSED) {
      throw new ClosedException(state.what + " was closed before it was used");
    }
  }

  /** Frees the resource; the second call does nothing; refused while in use. */
  void close() {
    if (state.uses.compareAndSet(0, CLOSED)) {
      state.closedByOwner = true;
      cleanable.clean();
    } else if (state.uses.get() != CLOSED) {
      throw new ClosedException(
          state.what
              + " is in use and cannot be closed: calls that use it have to end, and what was made"
              + " of it has to be closed, first");
    }
  }

  private static final class State implements Runnable {
    private final String what;
    private final Runnable release;
    private final AtomicInteger uses = new AtomicInteger();
    private volatile boolean closedByOwner;

    State(String what, Runnable release) {
      this.what = what;
      this.release = release;
    }

    @Override
    public void run() {
      if (!closedByOwner) {
        uses.set(CLOSED);
        LEAKED.incrementAndGet();
      }
      release.run();
    }
  }
}
