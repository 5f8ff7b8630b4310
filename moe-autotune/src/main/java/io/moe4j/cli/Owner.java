package io.moe4j.cli;

import java.util.ArrayDeque;
import java.util.Deque;

/** Holds resources that live and end together. Not thread safe. */
final class Owner implements AutoCloseable {
  private final Deque<Runnable> closings = new ArrayDeque<>();

  /** Takes a resource over; {@code close} ends it. */
  <T> T own(T resource, Runnable close) {
    closings.push(close);
    return resource;
  }

  /** Closes everything, last first; a failure does not keep the others open. */
  @Override
  public void close() {
    RuntimeException failure = null;
    while (!closings.isEmpty()) {
      try {
        closings.pop().run();
      } catch (RuntimeException e) {
        if (failure == null) {
          failure = e;
        } else {
          failure.addSuppressed(e);
        }
      }
    }
    if (failure != null) {
      throw failure;
    }
  }
}
