package io.moe4j.spi;

import io.moe4j.DType;
import io.moe4j.DeviceCounters;
import io.moe4j.DeviceInfo;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.TensorSpec;
import io.moe4j.UnsupportedOptionException;
import java.nio.ByteBuffer;
import java.util.Optional;

/**
 * An opened device of a back end. Arguments were checked before; addresses belong to this device.
 * Safe from any thread. {@code stream} is a stream's handle, 0 for the default one.
 */
public interface BackendDevice extends AutoCloseable {

  /** What the device is. */
  DeviceInfo info();

  /** Live resources and launches since the device was opened. */
  DeviceCounters counters();

  /** Names the kernels of this build: changes when stored tactics lose their meaning. */
  String tacticTableHash();

  /** Version of the binary interface of the native library; "unknown" where there is none. */
  default String libraryAbi() {
    return "unknown";
  }

  /** Uninitialized memory. */
  DeviceMemory allocate(long bytes);

  /** Address of a direct buffer's first remaining byte. */
  long addressOf(ByteBuffer direct);

  /** Memory of this device as a buffer, without a copy; only where the host can address it. */
  ByteBuffer view(long address, long bytes);

  /**
   * Takes over a DLPack {@code DLManagedTensor} in host memory, at an aligned address: closing the
   * result calls its deleter. One that is not what {@code spec} says is refused, and not touched.
   */
  default DeviceMemory importDlpack(TensorSpec spec, long managedTensor) {
    throw new UnsupportedOptionException(info().device() + " takes no DLPack tensors");
  }

  /**
   * Describes memory of this device as a new {@code DLManagedTensor}, and returns its address. Its
   * deleter runs {@code release} once, in any thread.
   */
  default long exportDlpack(TensorSpec spec, long address, Runnable release) {
    throw new UnsupportedOptionException(info().device() + " makes no DLPack tensors");
  }

  /** Copies a direct or heap buffer's remaining bytes to the device. */
  void copyToDevice(long destination, ByteBuffer source, long stream);

  /** Fills a buffer's remaining bytes from the device, and waits for them. */
  void copyToHost(ByteBuffer destination, long source, long stream);

  /** Waits for all work of a stream. */
  void synchronize(long stream);

  /** Its streams, events and graphs; empty where the calling thread does the work. */
  default Optional<BackendStreams> streams() {
    return Optional.empty();
  }

  /** A timer for tuning, to be closed by the caller. */
  default LaunchTimer newLaunchTimer() {
    return streams()
        .<LaunchTimer>map(streams -> new GraphLaunchTimer(this, streams))
        .orElseGet(() -> new HostLaunchTimer(this));
  }

  /** Creates an empty layer. */
  BackendLayer createLayer(MoeSpec spec);

  /** Quantizes F32 or BF16 [rows, k]. */
  void quantize(
      QuantFormat format,
      long rows,
      long k,
      DType sourceDtype,
      long source,
      float tensorScale,
      long codes,
      long scales,
      long stream);

  /** Dequantizes to F32 [rows, k]. */
  void dequantize(
      QuantFormat format,
      long rows,
      long k,
      long codes,
      long scales,
      float tensorScale,
      long destination,
      long stream);

  /** Bytes of swizzled 128x4 block scales, padding included. */
  long swizzledScaleBytes(long rows, long columns);

  /** Linear [rows, columns] scale bytes to the swizzled 128x4 layout. */
  void swizzleScales(long rows, long columns, long linear, long swizzled, long stream);

  /** The inverse of {@link #swizzleScales}. */
  void unswizzleScales(long rows, long columns, long swizzled, long linear, long stream);

  /** Logits F32 [T, E] of a router; {@code bias} is 0 where there is none. */
  void routerLogits(
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
      long stream);

  /** Closes the device; refused while memory or layers are live. */
  @Override
  void close();
}
