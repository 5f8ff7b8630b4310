package io.moe4j;

import io.moe4j.spi.LaunchTimer;
import java.lang.ref.Reference;

/** A back end's timer as a use of its device, and its timings as uses of the timer. */
final class DeviceLaunchTimer implements LaunchTimer {
  private final LaunchTimer backend;
  private final NativeResource resource;

  DeviceLaunchTimer(MoeDevice device, LaunchTimer backend) {
    this.backend = backend;
    this.resource = new NativeResource(this, "launch timer", device.owned(backend::close));
  }

  @Override
  public Timing prepare(Launches launches) {
    resource.acquire();
    try {
      return new DeviceTiming(backend.prepare(launches));
    } catch (Throwable e) {
      resource.release();
      throw e;
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  /** Refers to its timer: the collector finds neither before both are forgotten. */
  private final class DeviceTiming implements Timing {
    private final Timing timing;
    private boolean closed;

    DeviceTiming(Timing timing) {
      this.timing = timing;
    }

    @Override
    public long nanoseconds() {
      if (closed) {
        throw new ClosedException("timing was closed before it was used");
      }
      try {
        return timing.nanoseconds();
      } finally {
        Reference.reachabilityFence(DeviceLaunchTimer.this);
      }
    }

    @Override
    public void close() {
      if (!closed) {
        closed = true;
        try {
          timing.close();
        } finally {
          resource.release();
          Reference.reachabilityFence(DeviceLaunchTimer.this);
        }
      }
    }
  }

  /** Frees the timer. Refused while a timing is open; the second call does nothing. */
  @Override
  public void close() {
    resource.close();
  }
}
