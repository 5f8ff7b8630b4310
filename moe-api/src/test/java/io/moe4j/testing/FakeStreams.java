package io.moe4j.testing;

import io.moe4j.DeviceException;
import io.moe4j.spi.BackendGraph;
import io.moe4j.spi.BackendStreams;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * Streams on which work is done at once, unless it is captured. What real back ends forbid is an
 * {@link AssertionError}. Each piece of work takes a microsecond of the fake clock.
 */
public final class FakeStreams implements BackendStreams {
  private static final double WORK_NANOSECONDS = 1000;

  private final Set<Long> live = new HashSet<>();
  private final Map<Long, Long> captured = new HashMap<>();
  private final Map<Long, Double> marks = new HashMap<>();
  private long nextHandle = 0x1000;
  private double clock;
  private long replays;
  private int eventsLeft = Integer.MAX_VALUE;

  /** Streams, events and graphs that are not yet destroyed. */
  public synchronized int live() {
    return live.size();
  }

  /** Replays of graphs so far. */
  public synchronized long replays() {
    return replays;
  }

  /** Lets the next {@code count} events be created, and none after them. */
  public synchronized void limitEvents(int count) {
    eventsLeft = count;
  }

  /** A piece of work for a stream. */
  synchronized void work(long stream) {
    if (captured.computeIfPresent(stream, (key, size) -> size + 1) == null) {
      clock += WORK_NANOSECONDS;
    }
  }

  @Override
  public synchronized long createStream() {
    return create();
  }

  @Override
  public synchronized void destroyStream(long stream) {
    check(captured.get(stream) == null, "destroyed while captured");
    destroy(stream);
  }

  @Override
  public synchronized void waitFor(long stream, long event) {
    checkLive(stream);
    checkLive(event);
  }

  @Override
  public synchronized long createEvent() {
    if (eventsLeft-- == 0) {
      throw new DeviceException("no more events");
    }
    return create();
  }

  @Override
  public synchronized void destroyEvent(long event) {
    destroy(event);
  }

  @Override
  public synchronized void record(long event, long stream) {
    checkLive(event);
    check(!captured.containsKey(stream), "an event in a capture");
    marks.put(event, clock);
  }

  @Override
  public synchronized boolean isComplete(long event) {
    return marks.containsKey(event);
  }

  @Override
  public synchronized void await(long event) {
    check(marks.containsKey(event), "waiting for an event that marks nothing");
  }

  @Override
  public synchronized double nanosecondsBetween(long begin, long end) {
    return marks.get(end) - marks.get(begin);
  }

  @Override
  public synchronized void beginCapture(long stream) {
    checkLive(stream);
    check(captured.put(stream, 0L) == null, "captured twice");
  }

  @Override
  public synchronized BackendGraph endCapture(long stream) {
    long size = captured.remove(stream);
    long handle = create();
    return new BackendGraph() {
      @Override
      public long size() {
        return size;
      }

      @Override
      public void replay(long stream) {
        synchronized (FakeStreams.this) {
          checkLive(handle);
          replays++;
          clock += size * WORK_NANOSECONDS;
        }
      }

      @Override
      public void close() {
        synchronized (FakeStreams.this) {
          destroy(handle);
        }
      }
    };
  }

  @Override
  public synchronized void abandonCapture(long stream) {
    check(captured.remove(stream) != null, "no capture to abandon");
  }

  private long create() {
    live.add(nextHandle);
    return nextHandle++;
  }

  private void destroy(long handle) {
    check(live.remove(handle), "destroyed twice");
  }

  private void checkLive(long handle) {
    check(live.contains(handle), "used after it was destroyed");
  }

  private static void check(boolean condition, String otherwise) {
    if (!condition) {
      throw new AssertionError(otherwise);
    }
  }
}
