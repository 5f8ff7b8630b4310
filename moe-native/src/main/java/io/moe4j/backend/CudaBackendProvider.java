package io.moe4j.backend;

import io.moe4j.DeviceKind;
import io.moe4j.DeviceOptions;
import io.moe4j.global.moe4j;
import io.moe4j.spi.BackendDevice;
import io.moe4j.spi.BackendProvider;

/**
 * NVIDIA GPUs. Made by {@link java.util.ServiceLoader}; {@code libmoe4j_cuda.so} and the driver are
 * touched no sooner than somebody asks for a CUDA device.
 */
public final class CudaBackendProvider implements BackendProvider {

  /** Loads nothing yet. */
  public CudaBackendProvider() {}

  @Override
  public DeviceKind kind() {
    return DeviceKind.CUDA;
  }

  @Override
  public int deviceCount() {
    NativeLibrary.loadWithCuda();
    int[] count = new int[1];
    NativeStatus.check(moe4j.moe4j_device_count(NativeConstants.of(DeviceKind.CUDA), count));
    return count[0];
  }

  @Override
  public String unavailableReason() {
    // The reason is this thread's message of a count that found nothing.
    return deviceCount() == 0 ? NativeStatus.lastMessage() : "";
  }

  @Override
  public BackendDevice open(int index, DeviceOptions options) {
    NativeLibrary.loadWithCuda();
    return NativeDevice.open(DeviceKind.CUDA, index, options);
  }
}
