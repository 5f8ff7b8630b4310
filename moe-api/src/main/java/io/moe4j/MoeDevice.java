package io.moe4j;

import io.moe4j.spi.BackendDevice;
import io.moe4j.spi.BackendProvider;
import io.moe4j.spi.LaunchTimer;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.ServiceLoader;

/**
 * An opened device: where tensors and layers live. Safe from any thread. Close it after its
 * tensors, workspaces and layers.
 */
public final class MoeDevice implements AutoCloseable {
  private final BackendDevice backend;
  private final DeviceInfo info;
  private final DeviceOptions options;
  private final Optional<String> fallbackReason;

  private MoeDevice(BackendDevice backend, DeviceOptions options, Optional<String> fallbackReason) {
    this.backend = backend;
    this.info = backend.info();
    this.options = options;
    this.fallbackReason = fallbackReason;
  }

  /**
   * Opens "cpu", "cuda:N" or "auto" with default options; see {@link #open(String, DeviceOptions)}.
   */
  public static MoeDevice open(String device) {
    return open(device, DeviceOptions.DEFAULT);
  }

  /**
   * Opens a device. "cuda:N" never falls back; "auto" is the first CUDA device, or the CPU where
   * there is none, and then {@link #fallbackReason} says why.
   *
   * @throws DeviceUnavailableException when the device does not exist, with the reason
   */
  public static MoeDevice open(String device, DeviceOptions options) {
    if (!device.equals("auto")) {
      return new MoeDevice(openBackend(Device.parse(device), options), options, Optional.empty());
    }
    try {
      return new MoeDevice(openBackend(Device.cuda(0), options), options, Optional.empty());
    } catch (DeviceUnavailableException e) {
      return new MoeDevice(openBackend(Device.CPU, options), options, Optional.of(e.getMessage()));
    }
  }

  private static BackendDevice openBackend(Device device, DeviceOptions options) {
    for (BackendProvider provider : ServiceLoader.load(BackendProvider.class)) {
      if (provider.kind() == device.kind()) {
        int count = provider.deviceCount();
        if (device.index() < count) {
          return provider.open(device.index(), options);
        }
        throw new DeviceUnavailableException(
            device
                + " is not available: "
                + (count == 0 ? provider.unavailableReason() : "there are " + count + " devices"));
      }
    }
    throw new DeviceUnavailableException(
        device + " is not available: no back end for it on the class path (add moe-native)");
  }

  /** Which device this is. */
  public Device device() {
    return info.device();
  }

  /** What it is. */
  public DeviceInfo info() {
    return info;
  }

  /** How it was opened: another process opens the same device with them. */
  public DeviceOptions options() {
    return options;
  }

  /** Why "auto" became the CPU; empty if it did not. */
  public Optional<String> fallbackReason() {
    return fallbackReason;
  }

  /** Live resources and launches of this device. */
  public DeviceCounters counters() {
    return backend.counters();
  }

  /** Names the kernels of this build: changes when stored tactics lose their meaning. */
  public String tacticTableHash() {
    return backend.tacticTableHash();
  }

  /** Version of the native library's binary interface; "unknown" where there is none. */
  public String libraryAbi() {
    return backend.libraryAbi();
  }

  /** A timer of launches for tuning, to be closed by the caller; confined to one thread. */
  public LaunchTimer newLaunchTimer() {
    return backend.newLaunchTimer();
  }

  /** Resources of the whole process that nobody closed and the garbage collector freed. */
  public static long leakedResources() {
    return NativeResource.leaked();
  }

  // ---- tensors
  // -----------------------------------------------------------------------------------

  /** Uninitialized storage, to be closed by the caller. */
  public OwnedTensor allocate(TensorSpec spec) {
    return new OwnedTensor(spec, this, backend.allocate(spec.bytes()));
  }

  /**
   * A tensor over memory of this device that the caller keeps alive, e.g. a server's own CUDA
   * allocation.
   */
  public BorrowedTensor borrow(TensorSpec spec, long address) {
    if (address == 0 && spec.bytes() > 0) {
      throw new InvalidArgumentException("address", 0, "the address of " + spec);
    }
    if (address % spec.dtype().bytes() != 0) {
      throw new InvalidArgumentException(
          "address", "0x" + Long.toHexString(address), "aligned for " + spec.dtype());
    }
    return new BorrowedTensor(spec, this, address, null);
  }

  /** A tensor over the remaining bytes of a direct little-endian buffer; CPU only, no copy. */
  public BorrowedTensor borrow(TensorSpec spec, ByteBuffer direct) {
    if (device().kind() != DeviceKind.CPU) {
      throw new InvalidArgumentException(
          "device", device(), "cpu, for a tensor over a host buffer");
    }
    if (!direct.isDirect()) {
      throw new InvalidArgumentException("direct", "a heap buffer", "a direct buffer");
    }
    if (direct.remaining() < spec.bytes()) {
      throw new InvalidArgumentException(
          "direct", direct.remaining() + " bytes", spec.bytes() + " bytes for " + spec);
    }
    return new BorrowedTensor(spec, this, backend.addressOf(direct), direct);
  }

  ByteBuffer view(Tensor tensor) {
    if (device().kind() != DeviceKind.CPU) {
      throw new InvalidArgumentException("device", device(), "cpu, for direct access");
    }
    return backend.view(tensor.address(), tensor.spec().bytes());
  }

  /** Copies the remaining bytes of {@code source}, which has to have the tensor's size, into it. */
  public void copyToDevice(Tensor destination, ByteBuffer source, Stream stream) {
    checkCopy("source", destination, source);
    destination.acquire();
    try {
      backend.copyToDevice(destination.address(), source, stream.handle());
    } finally {
      destination.release();
    }
  }

  /** Copies a tensor into the remaining bytes of {@code destination} and waits for it. */
  public void copyToHost(Tensor source, ByteBuffer destination, Stream stream) {
    checkCopy("destination", source, destination);
    source.acquire();
    try {
      backend.copyToHost(destination, source.address(), stream.handle());
    } finally {
      source.release();
    }
  }

  private void checkCopy(String name, Tensor tensor, ByteBuffer buffer) {
    if (tensor.device() != this) {
      throw new InvalidArgumentException("tensor", tensor, "a tensor of " + device());
    }
    if (buffer.remaining() != tensor.spec().bytes()) {
      throw new InvalidArgumentException(
          name, buffer.remaining() + " bytes", tensor.spec().bytes() + " bytes of " + tensor);
    }
  }

  /** Waits for all work of a stream; returns at once on the CPU. */
  public void synchronize(Stream stream) {
    backend.synchronize(stream.handle());
  }

  // ---- layers
  // ------------------------------------------------------------------------------------

  /** A layer with the back end's default tactics. */
  public MoeLayer prepare(MoeSpec spec, MoeWeights weights) {
    return prepare(spec, weights, TacticSelector.Source.DEFAULT);
  }

  /**
   * Repacks the weights for this device, one expert at a time, into a layer to be closed by the
   * caller; the source is not needed afterwards.
   *
   * @param tactics chooses the tactic of each launch
   */
  public MoeLayer prepare(MoeSpec spec, MoeWeights weights, TacticSelector.Source tactics) {
    return MoeLayer.prepare(this, spec, weights, tactics);
  }

  /** Operations on block formats and routers of this device. */
  public BlockFormats blockFormats() {
    return new BlockFormats(this);
  }

  BackendDevice backend() {
    return backend;
  }

  /** Closes the device. Refused while tensors, workspaces or layers of it are open. */
  @Override
  public void close() {
    backend.close();
  }
}
