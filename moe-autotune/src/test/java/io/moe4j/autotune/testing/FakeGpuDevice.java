package io.moe4j.autotune.testing;

import io.moe4j.DType;
import io.moe4j.Device;
import io.moe4j.DeviceCounters;
import io.moe4j.DeviceException;
import io.moe4j.DeviceInfo;
import io.moe4j.DeviceMemoryException;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMode;
import io.moe4j.Tensor;
import io.moe4j.spi.BackendDevice;
import io.moe4j.spi.BackendLayer;
import io.moe4j.spi.DeviceMemory;
import io.moe4j.spi.LaunchTimer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.atomic.AtomicLong;

/** Keeps memory, counts, and runs launches by {@link FakeGpuLayer}. */
final class FakeGpuDevice implements BackendDevice {
  private final FakeGpu gpu;
  private final NavigableMap<Long, ByteBuffer> memory = new ConcurrentSkipListMap<>();
  private final AtomicLong nextAddress = new AtomicLong(4096);
  private final AtomicLong liveBytes = new AtomicLong();
  private List<Runnable> recorder = List.of();
  private boolean broken;

  FakeGpuDevice(FakeGpu gpu) {
    this.gpu = gpu;
  }

  /** Fails now, and whatever it is asked for from now on. */
  void breakDown() {
    broken = true;
    checkWorks();
  }

  private void checkWorks() {
    if (broken) {
      throw new DeviceException("the device is broken");
    }
  }

  /** Takes the launches of the capturing stream from now on. */
  void record(List<Runnable> launches) {
    recorder = launches;
  }

  /** Runs a launch, or records it if its stream says so. */
  void launch(long stream, Runnable launch) {
    checkWorks();
    if (stream == FakeLaunchTimer.CAPTURE.handle()) {
      recorder.add(launch);
    } else {
      gpu.eagerLaunches++;
      launch.run();
    }
  }

  /** A tensor's bytes. */
  ByteBuffer bytes(Tensor tensor) {
    return bytes(tensor.address(), tensor.spec().bytes());
  }

  private ByteBuffer bytes(long address, long bytes) {
    Map.Entry<Long, ByteBuffer> block = memory.floorEntry(address);
    if (block == null || address + bytes > block.getKey() + block.getValue().capacity()) {
      throw new AssertionError(
          "touches " + bytes + " bytes at " + address + ", which are not live");
    }
    return block
        .getValue()
        .slice((int) (address - block.getKey()), (int) bytes)
        .order(ByteOrder.LITTLE_ENDIAN);
  }

  @Override
  public DeviceInfo info() {
    return new DeviceInfo(
        Device.cuda(0),
        gpu.model,
        gpu.computeUnits,
        90,
        gpu.driverVersion,
        gpu.memoryBytes,
        gpu.lastLevelCacheBytes,
        "sm_90a");
  }

  @Override
  public DeviceCounters counters() {
    long routed =
        gpu.launches().stream()
            .filter(launch -> launch.routing() == RoutingMode.FROM_LOGITS)
            .count();
    return new DeviceCounters(liveBytes.get(), memory.size(), 0, gpu.launches().size(), routed);
  }

  @Override
  public String tacticTableHash() {
    return gpu.kernels;
  }

  @Override
  public String libraryAbi() {
    return gpu.abi;
  }

  @Override
  public DeviceMemory allocate(long bytes) {
    checkWorks();
    if (liveBytes.addAndGet(bytes) > gpu.memoryBytes) {
      liveBytes.addAndGet(-bytes);
      throw new DeviceMemoryException("cannot allocate " + bytes + " bytes");
    }
    long address = nextAddress.getAndAdd((bytes / 256 + 2) * 256);
    memory.put(address, ByteBuffer.allocate((int) bytes));
    return new DeviceMemory() {
      @Override
      public long address() {
        return address;
      }

      @Override
      public long bytes() {
        return bytes;
      }

      @Override
      public void close() {
        if (memory.remove(address) == null) {
          throw new AssertionError("freed twice: " + address);
        }
        liveBytes.addAndGet(-bytes);
      }
    };
  }

  @Override
  public long addressOf(ByteBuffer direct) {
    throw new AssertionError("not used");
  }

  @Override
  public ByteBuffer view(long address, long bytes) {
    throw new AssertionError("not used");
  }

  @Override
  public void copyToDevice(long destination, ByteBuffer source, long stream) {
    checkWorks();
    bytes(destination, source.remaining()).put(source);
  }

  @Override
  public void copyToHost(ByteBuffer destination, long source, long stream) {
    checkWorks();
    destination.put(bytes(source, destination.remaining()));
  }

  @Override
  public void synchronize(long stream) {
    checkWorks();
  }

  @Override
  public LaunchTimer newLaunchTimer() {
    return new FakeLaunchTimer(gpu, this);
  }

  @Override
  public BackendLayer createLayer(MoeSpec spec) {
    return new FakeGpuLayer(gpu, this, spec);
  }

  @Override
  public void quantize(
      QuantFormat format,
      long rows,
      long k,
      DType sourceDtype,
      long source,
      float tensorScale,
      long codes,
      long scales,
      long stream) {
    throw new AssertionError("not used");
  }

  @Override
  public void dequantize(
      QuantFormat format,
      long rows,
      long k,
      long codes,
      long scales,
      float tensorScale,
      long destination,
      long stream) {
    throw new AssertionError("not used");
  }

  @Override
  public long swizzledScaleBytes(long rows, long columns) {
    throw new AssertionError("not used");
  }

  @Override
  public void swizzleScales(long rows, long columns, long linear, long swizzled, long stream) {
    throw new AssertionError("not used");
  }

  @Override
  public void unswizzleScales(long rows, long columns, long swizzled, long linear, long stream) {
    throw new AssertionError("not used");
  }

  @Override
  public void routerLogits(
      long tokens,
      long hiddenSize,
      long numExperts,
      DType hiddenDtype,
      long hiddenStates,
      DType weightDtype,
      long weight,
      DType biasDtype,
      long bias,
      long logits,
      long stream) {
    throw new AssertionError("not used");
  }

  @Override
  public void close() {}
}
