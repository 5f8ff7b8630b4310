package io.moe4j;

import io.moe4j.spi.DeviceMemory;
import io.moe4j.spi.LaunchArguments;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Scratch memory of launches, made by {@link MoeLayer#newWorkspace} and usable with every layer of
 * the device whose need it covers. One call at a time: a thread's, or a stream's. Close it once.
 */
public final class Workspace implements AutoCloseable {
  private final MoeDevice device;
  private final DeviceMemory memory;
  private final LaunchArguments arguments;
  private final NativeResource resource;
  private final AtomicBoolean busy = new AtomicBoolean();

  Workspace(MoeDevice device, DeviceMemory memory, LaunchArguments arguments) {
    this.device = device;
    this.memory = memory;
    this.arguments = arguments;
    this.resource = new NativeResource(this, "workspace", device.owned(free(memory, arguments)));
  }

  private static Runnable free(DeviceMemory memory, LaunchArguments arguments) {
    return () -> {
      arguments.close();
      memory.close();
    };
  }

  /** The device whose memory this is. */
  public MoeDevice device() {
    return device;
  }

  /** Size of the scratch memory. */
  public long bytes() {
    return memory.bytes();
  }

  void checkDevice(MoeDevice expected) {
    if (device != expected) {
      throw new InvalidArgumentException(
          "workspace",
          device.device().equals(expected.device())
              ? "one of another opened " + device.device()
              : "one of " + device.device(),
          "one of the layer's " + expected.device());
    }
  }

  void acquire() {
    resource.acquire();
    if (!busy.compareAndSet(false, true)) {
      resource.release();
      throw new InvalidArgumentException(
          "workspace", "one that another thread's call uses", "one workspace for each thread");
    }
  }

  void release() {
    busy.set(false);
    resource.release();
  }

  /** Keeps the memory for a graph, which may use it at any time; pairs with {@link #letGo}. */
  void hold() {
    resource.acquire();
  }

  void letGo() {
    resource.release();
  }

  long address() {
    return memory.address();
  }

  LaunchArguments arguments() {
    return arguments;
  }

  /** Frees the memory. Refused while a call uses it; the second call does nothing. */
  @Override
  public void close() {
    resource.close();
  }
}
