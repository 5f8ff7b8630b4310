package io.moe4j.spi;

import io.moe4j.Stream;

/** Times launches on the default stream by the host's clock. */
final class HostLaunchTimer implements LaunchTimer {
  private final BackendDevice device;

  HostLaunchTimer(BackendDevice device) {
    this.device = device;
  }

  @Override
  public Timing prepare(Launches launches) {
    return new Timing() {
      @Override
      public long nanoseconds() {
        device.synchronize(Stream.DEFAULT.handle());
        long start = System.nanoTime();
        launches.enqueue(Stream.DEFAULT);
        device.synchronize(Stream.DEFAULT.handle());
        return System.nanoTime() - start;
      }

      @Override
      public void close() {}
    };
  }

  @Override
  public void close() {}
}
