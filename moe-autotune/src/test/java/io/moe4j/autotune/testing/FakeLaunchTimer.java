package io.moe4j.autotune.testing;

import io.moe4j.Stream;
import io.moe4j.spi.DeviceMemory;
import io.moe4j.spi.LaunchTimer;
import java.util.ArrayList;
import java.util.List;

/** Reads the fake clock around launches, or around the replay of those that it recorded. */
final class FakeLaunchTimer implements LaunchTimer {
  /** Launches on this stream are recorded and not run. */
  static final Stream CAPTURE = () -> 0xCA97;

  private static final double HOST_NANOS_PER_REPLAY = 1e6;

  private final FakeGpu gpu;
  private final FakeGpuDevice device;

  FakeLaunchTimer(FakeGpu gpu, FakeGpuDevice device) {
    this.gpu = gpu;
    this.device = device;
  }

  @Override
  public Timing prepare(Launches launches) {
    Timing timing = gpu.recording ? new Replay(launches) : new Eager(launches);
    gpu.openTimings++;
    return timing;
  }

  private final class Eager implements Timing {
    private final Launches launches;

    Eager(Launches launches) {
      this.launches = launches;
    }

    @Override
    public long nanoseconds() {
      long start = gpu.clock.read();
      launches.enqueue(Stream.DEFAULT);
      return gpu.clock.read() - start;
    }

    @Override
    public void close() {
      gpu.openTimings--;
    }
  }

  private final class Replay implements Timing {
    private final List<Runnable> recorded = new ArrayList<>();
    private final DeviceMemory graph;

    Replay(Launches launches) {
      device.record(recorded);
      launches.enqueue(CAPTURE);
      graph = device.allocate(recorded.size() * gpu.recordedLaunchBytes);
      gpu.recordings++;
    }

    @Override
    public long nanoseconds() {
      long start = gpu.clock.read();
      recorded.forEach(Runnable::run);
      long nanos = gpu.clock.read() - start;
      gpu.clock.advance(HOST_NANOS_PER_REPLAY);
      return nanos;
    }

    @Override
    public void close() {
      graph.close();
      gpu.openTimings--;
    }
  }

  @Override
  public void close() {
    if (gpu.openTimings != 0) {
      throw new AssertionError(gpu.openTimings + " timings outlive their timer");
    }
  }
}
