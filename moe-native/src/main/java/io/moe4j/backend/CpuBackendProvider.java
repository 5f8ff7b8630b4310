package io.moe4j.backend;

import io.moe4j.DeviceKind;
import io.moe4j.DeviceOptions;
import io.moe4j.spi.BackendDevice;
import io.moe4j.spi.BackendProvider;

/** The processor. Made by {@link java.util.ServiceLoader}. */
public final class CpuBackendProvider implements BackendProvider {

  /** Loads nothing yet. */
  public CpuBackendProvider() {}

  @Override
  public DeviceKind kind() {
    return DeviceKind.CPU;
  }

  @Override
  public int deviceCount() {
    return 1;
  }

  @Override
  public String unavailableReason() {
    return "";
  }

  @Override
  public String libraryVersion() {
    return NativeLibrary.version();
  }

  @Override
  public BackendDevice open(int index, DeviceOptions options) {
    NativeLibrary.load();
    // The JVM knows of a container's share, and of -XX:ActiveProcessorCount.
    int threads =
        options.threads() > 0 ? options.threads() : Runtime.getRuntime().availableProcessors();
    return NativeDevice.open(DeviceKind.CPU, index, options.withThreads(threads));
  }
}
