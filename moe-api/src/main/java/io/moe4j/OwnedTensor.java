package io.moe4j;

import io.moe4j.spi.DeviceMemory;

/**
 * A tensor whose storage belongs to it; made by {@link MoeDevice#allocate} or {@link
 * MoeDevice#importDlpack}. Close it once.
 */
public final class OwnedTensor extends Tensor implements AutoCloseable {
  private final DeviceMemory memory;
  private final NativeResource resource;

  OwnedTensor(TensorSpec spec, MoeDevice device, DeviceMemory memory) {
    super(spec, device);
    this.memory = memory;
    this.resource = new NativeResource(this, "tensor " + spec, device.owned(memory::close));
  }

  @Override
  public long address() {
    resource.check();
    return memory.address();
  }

  @Override
  boolean writable() {
    return true;
  }

  @Override
  void acquire() {
    resource.acquire();
  }

  @Override
  void release() {
    resource.release();
  }

  /** Frees the storage. Refused while a call uses it; the second call does nothing. */
  @Override
  public void close() {
    resource.close();
  }
}
