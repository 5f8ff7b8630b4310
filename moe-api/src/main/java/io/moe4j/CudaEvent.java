package io.moe4j;

import io.moe4j.spi.BackendStreams;
import java.lang.ref.Reference;
import java.util.function.LongConsumer;

/**
 * A mark in a stream's work that the host and other streams can wait for, with the time at which
 * the device came by; made by {@link MoeDevice#newEvent}. Safe from any thread. Close it once.
 */
public final class CudaEvent implements AutoCloseable {
  private final MoeDevice device;
  private final BackendStreams backend;
  private final long handle;
  private final NativeResource resource;
  private volatile boolean recorded;

  CudaEvent(MoeDevice device, BackendStreams backend) {
    this.device = device;
    this.backend = backend;
    long created = backend.createEvent();
    this.handle = created;
    this.resource =
        new NativeResource(this, "event", device.owned(() -> backend.destroyEvent(created)));
  }

  /** The device whose work it marks. */
  public MoeDevice device() {
    return device;
  }

  /** Marks the work that a stream has so far; an earlier mark is forgotten. */
  public void record(Stream stream) {
    StreamUse.refuseCapture(stream);
    resource.acquire();
    try {
      long marked = StreamUse.begin(device, stream);
      try {
        backend.record(handle, marked);
        recorded = true;
      } finally {
        StreamUse.end(stream);
      }
    } finally {
      resource.release();
      Reference.reachabilityFence(this);
    }
  }

  /** Whether the marked work is done. */
  public boolean isComplete() {
    boolean[] complete = new boolean[1];
    use(device, event -> complete[0] = backend.isComplete(event));
    return complete[0];
  }

  /** Waits, on the host, until the marked work is done. */
  public void synchronize() {
    use(device, backend::await);
  }

  /**
   * Nanoseconds of the device's clock, which ticks about every half microsecond, from {@code begin}
   * to this event. Waits for both.
   */
  public double nanosecondsSince(CudaEvent begin) {
    Arguments.notNull("begin", begin);
    double[] nanoseconds = new double[1];
    begin.use(
        device,
        from ->
            use(
                device,
                to -> {
                  backend.await(from);
                  backend.await(to);
                  nanoseconds[0] = backend.nanosecondsBetween(from, to);
                }));
    return nanoseconds[0];
  }

  /** Keeps the event open while an operation of a device uses its handle. */
  void use(MoeDevice user, LongConsumer operation) {
    if (user != device) {
      throw new InvalidArgumentException("event", "one of another device", "one of the stream's");
    }
    resource.acquire();
    try {
      if (!recorded) {
        throw new InvalidArgumentException("event", "one that marks nothing", "a recorded one");
      }
      operation.accept(handle);
    } finally {
      resource.release();
      Reference.reachabilityFence(this);
    }
  }

  /** Frees the event. Refused while a call uses it; the second call does nothing. */
  @Override
  public void close() {
    resource.close();
  }
}
