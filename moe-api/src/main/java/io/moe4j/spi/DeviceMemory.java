package io.moe4j.spi;

/** A piece of device memory. */
public interface DeviceMemory extends AutoCloseable {

  /** Address in the device's memory, aligned to 256 bytes. */
  long address();

  /** Size. */
  long bytes();

  /** Frees it; called once. Must not throw. */
  @Override
  void close();
}
