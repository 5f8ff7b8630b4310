package io.moe4j.cli;

import com.google.common.base.Ticker;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Lets work end early, in order, when the process is told to end (Ctrl-C): all time is spent at
 * once, and the process waits for what follows from it. Confined to one thread, but for the ticker.
 */
final class Interruption implements AutoCloseable {
  /** Longer than any budget, and far from an overflow. */
  private static final long FAR_FUTURE = Long.MAX_VALUE / 4;

  /** A tactic that is under way has to come to its end. */
  private static final long PATIENCE_SECONDS = 60;

  private final CountDownLatch closed = new CountDownLatch(1);
  private final Thread atExit = new Thread(this::interrupt, "interruption");
  private volatile boolean interrupted;

  private Interruption() {}

  /** Watches for the end of the process, to be closed when the work's results are kept. */
  static Interruption watch() {
    Interruption interruption = new Interruption();
    Runtime.getRuntime().addShutdownHook(interruption.atExit);
    return interruption;
  }

  private void interrupt() {
    interrupted = true;
    try {
      closed.await(PATIENCE_SECONDS, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Whether the process was told to end. */
  boolean interrupted() {
    return interrupted;
  }

  /** A clock on which every budget is spent once the process is told to end. */
  Ticker ticker() {
    return new Ticker() {
      @Override
      public long read() {
        return System.nanoTime() + (interrupted ? FAR_FUTURE : 0);
      }
    };
  }

  /** Lets the process end. */
  @Override
  public void close() {
    closed.countDown();
    if (!interrupted) {
      try {
        Runtime.getRuntime().removeShutdownHook(atExit);
      } catch (IllegalStateException e) {
        // It has just begun, and will find the work closed.
      }
    }
  }
}
