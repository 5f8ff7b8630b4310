package io.moe4j;

import java.util.ArrayList;
import java.util.List;

/** What a graph that is being captured has to keep open. Confined to the capturing thread. */
final class Capture {
  private final Thread thread = Thread.currentThread();
  private final List<Runnable> releases = new ArrayList<>();

  boolean isOfThisThread() {
    return thread == Thread.currentThread();
  }

  /**
   * Takes over a use of something.
   *
   * @param release ends the use; refers to the object that users hold, which thereby stays
   *     reachable as long as the graph lives
   */
  void keep(Runnable release) {
    releases.add(release);
  }

  /** Ends all uses; called once. */
  void release() {
    releases.forEach(Runnable::run);
  }
}
