package io.moe4j.cli;

import com.google.common.reflect.Reflection;
import io.moe4j.DeviceKind;
import io.moe4j.DeviceOptions;
import io.moe4j.Stream;
import io.moe4j.spi.BackendDevice;
import io.moe4j.spi.BackendProvider;
import io.moe4j.spi.LaunchTimer;
import io.moe4j.testing.FakeDevice;
import io.moe4j.testing.FakeProvider;
import java.lang.reflect.InvocationTargetException;
import java.util.function.Consumer;

/**
 * The CPU that commands find in tests: a fake one, whose launches take as long as a test says. It
 * comes before the real one, as the class path has tests first.
 */
public final class CliDevices implements BackendProvider {
  private static Consumer<FakeDevice> onOpen = device -> {};
  private static FakeDevice last;
  private static DeviceOptions lastOptions;
  private static long clock;

  private final FakeProvider provider = new FakeProvider();

  /** Called with every device that is opened, until it is called again. */
  static void onOpen(Consumer<FakeDevice> hook) {
    onOpen = hook;
  }

  /** The device that was opened last. */
  static FakeDevice last() {
    return last;
  }

  /** How it was opened. */
  static DeviceOptions lastOptions() {
    return lastOptions;
  }

  /** Lets time go by on the devices' clock, which tunings are measured with. */
  static void advanceClock(long nanoseconds) {
    clock += nanoseconds;
  }

  @Override
  public DeviceKind kind() {
    return provider.kind();
  }

  @Override
  public int deviceCount() {
    return provider.deviceCount();
  }

  @Override
  public String unavailableReason() {
    return provider.unavailableReason();
  }

  @Override
  public BackendDevice open(int index, DeviceOptions options) {
    last = (FakeDevice) provider.open(index, options);
    lastOptions = options;
    onOpen.accept(last);
    return withClock(last);
  }

  private static BackendDevice withClock(FakeDevice device) {
    return Reflection.newProxy(
        BackendDevice.class,
        (proxy, method, arguments) -> {
          if (method.getName().equals("newLaunchTimer")) {
            return new ClockTimer();
          }
          try {
            return method.invoke(device, arguments);
          } catch (InvocationTargetException e) {
            throw e.getCause();
          }
        });
  }

  private static final class ClockTimer implements LaunchTimer {
    @Override
    public Timing prepare(Launches launches) {
      return new Timing() {
        @Override
        public long nanoseconds() {
          long start = clock;
          launches.enqueue(Stream.DEFAULT);
          return clock - start;
        }

        @Override
        public void close() {}
      };
    }

    @Override
    public void close() {}
  }
}
