package io.moe4j.testing;

import io.moe4j.DeviceKind;
import io.moe4j.DeviceOptions;
import io.moe4j.MoeDevice;
import io.moe4j.spi.BackendDevice;
import io.moe4j.spi.BackendProvider;
import java.util.ArrayList;
import java.util.List;

/** A back end without native code, that remembers what it opened. */
public final class FakeProvider implements BackendProvider {
  private final DeviceKind kind;
  private final int count;
  private final List<FakeDevice> opened = new ArrayList<>();

  /** One CPU; what a service file finds. */
  public FakeProvider() {
    this(DeviceKind.CPU, 1);
  }

  /** So many devices of a kind. */
  public FakeProvider(DeviceKind kind, int count) {
    this.kind = kind;
    this.count = count;
  }

  /** Opens the first device. */
  public MoeDevice open() {
    return MoeDevice.open(this, 0, DeviceOptions.DEFAULT);
  }

  /** The device that was opened last. */
  public FakeDevice device() {
    return opened.get(opened.size() - 1);
  }

  @Override
  public DeviceKind kind() {
    return kind;
  }

  @Override
  public int deviceCount() {
    return count;
  }

  @Override
  public String unavailableReason() {
    return count == 0 ? "the fake driver is not installed" : "";
  }

  @Override
  public BackendDevice open(int index, DeviceOptions options) {
    FakeDevice device = new FakeDevice(kind, index);
    opened.add(device);
    return device;
  }
}
