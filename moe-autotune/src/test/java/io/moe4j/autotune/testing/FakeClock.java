package io.moe4j.autotune.testing;

import com.google.common.base.Ticker;
import java.util.concurrent.atomic.AtomicLong;

/** Stands still unless moved, in either direction. Serves as the host's clock and the device's. */
public final class FakeClock extends Ticker {
  private final AtomicLong nanos = new AtomicLong(1_000_000_000L);

  /** Moves the clock. */
  public void advance(double by) {
    nanos.addAndGet(Math.round(by));
  }

  @Override
  public long read() {
    return nanos.get();
  }
}
