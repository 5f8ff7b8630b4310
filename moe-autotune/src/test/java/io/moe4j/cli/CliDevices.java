package io.moe4j.cli;

import io.moe4j.DeviceKind;
import io.moe4j.DeviceOptions;
import io.moe4j.spi.BackendDevice;
import io.moe4j.spi.BackendProvider;
import io.moe4j.testing.FakeDevice;
import io.moe4j.testing.FakeProvider;
import java.util.function.Consumer;

/**
 * The CPU that commands find in tests: a fake one. It comes before the real one, as the class path
 * has tests first.
 */
public final class CliDevices implements BackendProvider {
  private static Consumer<FakeDevice> onOpen = device -> {};
  private static FakeDevice last;
  private static DeviceOptions lastOptions;

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
    return last;
  }
}
