package io.moe4j.spi;

import io.moe4j.Stream;

/**
 * Times launches for tuning: by the device's clock, replaying a graph, where the back end has
 * {@link BackendDevice#streams streams}, and by the host's clock elsewhere. Whoever wants cold
 * caches enqueues a sequence that goes through more memory than they hold. Confined to one thread.
 */
public interface LaunchTimer extends AutoCloseable {

  /** A fixed sequence of launches. */
  @FunctionalInterface
  interface Launches {
    /** Enqueues the sequence on a stream, and does nothing else. */
    void enqueue(Stream stream);
  }

  /** Launches made ready to be timed again and again. */
  interface Timing extends AutoCloseable {

    /** Runs the sequence once, waits for it, and returns how long the device took. */
    long nanoseconds();

    /** Frees what preparation made; called once. Must not throw. */
    @Override
    void close();
  }

  /** Makes launches ready, e.g. records them as a graph. No part of any time. */
  Timing prepare(Launches launches);

  /** Frees the timer, and timings that nobody closed; called once. Must not throw. */
  @Override
  void close();
}
