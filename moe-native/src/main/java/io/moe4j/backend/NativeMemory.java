package io.moe4j.backend;

import io.moe4j.global.moe4j;
import io.moe4j.nativelib.moe4j_device;
import io.moe4j.spi.DeviceMemory;

/** Memory of {@code moe4j_allocate}; the device stays open while there is any. */
final class NativeMemory implements DeviceMemory {
  private final moe4j_device device;
  private final long address;
  private final long bytes;

  NativeMemory(moe4j_device device, long address, long bytes) {
    this.device = device;
    this.address = address;
    this.bytes = bytes;
  }

  @Override
  public long address() {
    return address;
  }

  @Override
  public long bytes() {
    return bytes;
  }

  /** The status is of no use here: freeing what was allocated, once, cannot be refused. */
  @Override
  @SuppressWarnings("CheckReturnValue")
  public void close() {
    moe4j.moe4j_free(device, Address.of(address));
  }
}
