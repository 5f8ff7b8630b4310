package io.moe4j.autotune.search;

import com.google.common.base.Ticker;
import java.time.Duration;

/**
 * Time that a search may take, unless its thread is interrupted before. A clock that jumps back
 * gives no time and takes none. Confined to one thread.
 */
public final class SearchBudget {
  private final Ticker ticker;
  private final long limitNanos;
  private long lastReading;
  private long spentNanos;

  /** A budget that starts now. */
  public SearchBudget(Ticker ticker, Duration limit) {
    this.ticker = ticker;
    this.limitNanos = saturatedNanos(limit);
    this.lastReading = ticker.read();
  }

  private static long saturatedNanos(Duration duration) {
    boolean huge = duration.toSeconds() >= Long.MAX_VALUE / 1_000_000_000;
    return huge ? Long.MAX_VALUE : duration.toNanos();
  }

  /** Whether to stop: the time is over, or the thread was interrupted. */
  public boolean expired() {
    return spentNanos() >= limitNanos || Thread.currentThread().isInterrupted();
  }

  /** Why to stop, in words. */
  String reason() {
    return Thread.currentThread().isInterrupted()
        ? "the thread was interrupted"
        : "the time budget is spent";
  }

  /** Time spent so far. */
  public Duration spent() {
    return Duration.ofNanos(spentNanos());
  }

  /** Time left. */
  public Duration remaining() {
    return Duration.ofNanos(Math.max(0, limitNanos - spentNanos()));
  }

  /** A part, 0 to 1, of the time left. */
  public Duration remaining(double part) {
    return Duration.ofNanos((long) (part * remaining().toNanos()));
  }

  private long spentNanos() {
    long reading = ticker.read();
    spentNanos += Math.max(0, reading - lastReading);
    lastReading = reading;
    return spentNanos;
  }
}
