package io.moe4j.spi;

import io.moe4j.Stream;

/**
 * Times launches for tuning. The default one reads the host's clock; a back end whose device has a
 * clock of its own, can replay recorded launches (a CUDA graph) or can evict its caches offers a
 * better one by {@link BackendDevice#newLaunchTimer}. Confined to one thread.
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

  /** Frees the timer, after its timings; called once. Must not throw. */
  @Override
  void close();
}
