package io.moe4j;

import io.moe4j.spi.BackendDevice;
import io.moe4j.spi.BackendProvider;
import io.moe4j.spi.BackendStreams;
import io.moe4j.spi.DeviceMemory;
import io.moe4j.spi.LaunchTimer;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;
import java.util.ServiceLoader;
import java.util.function.Supplier;

/**
 * An opened device: where tensors and layers live. Safe from any thread. Close it after its
 * tensors, workspaces and layers: while one of them is open, closing is refused.
 */
public final class MoeDevice implements AutoCloseable {
  private final BackendDevice backend;
  private final DeviceInfo info;
  private final DeviceOptions options;
  private final Optional<String> fallbackReason;
  private final NativeResource resource;

  private MoeDevice(BackendDevice backend, DeviceOptions options, Optional<String> fallbackReason) {
    this.backend = backend;
    this.info = backend.info();
    this.options = options;
    this.fallbackReason = fallbackReason;
    this.resource = new NativeResource(this, "device " + info.device(), backend::close);
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
    Arguments.notNull("options", options);
    if (!Arguments.notNull("device", device).equals("auto")) {
      return new MoeDevice(openBackend(Device.parse(device), options), options, Optional.empty());
    }
    try {
      return new MoeDevice(openBackend(Device.cuda(0), options), options, Optional.empty());
    } catch (DeviceUnavailableException e) {
      return new MoeDevice(openBackend(Device.CPU, options), options, Optional.of(e.getMessage()));
    }
  }

  /**
   * Opens a device of a back end at hand, where there is no service file to find it by.
   *
   * @throws DeviceUnavailableException when it has no device of this index
   */
  public static MoeDevice open(BackendProvider provider, int index, DeviceOptions options) {
    Arguments.notNull("provider", provider);
    Arguments.notNull("options", options);
    return new MoeDevice(
        openBackend(provider, new Device(provider.kind(), index), options),
        options,
        Optional.empty());
  }

  private static BackendDevice openBackend(Device device, DeviceOptions options) {
    // Beside these classes first: threads of a server's pools often have another loader.
    ClassLoader[] loaders = {
      MoeDevice.class.getClassLoader(), Thread.currentThread().getContextClassLoader()
    };
    for (ClassLoader loader : loaders) {
      for (BackendProvider provider : ServiceLoader.load(BackendProvider.class, loader)) {
        if (provider.kind() == device.kind()) {
          return openBackend(provider, device, options);
        }
      }
    }
    throw new DeviceUnavailableException(
        device + " is not available: no back end for it on the class path (add moe-native)");
  }

  private static BackendDevice openBackend(
      BackendProvider provider, Device device, DeviceOptions options) {
    int count = provider.deviceCount();
    if (device.index() < count) {
      return provider.open(device.index(), options);
    }
    throw new DeviceUnavailableException(
        device
            + " is not available: "
            + (count == 0
                ? provider.unavailableReason()
                : "found " + count + " of its kind, numbered from 0"));
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
    return using(backend::counters);
  }

  /** Names the kernels of this build: changes when stored tactics lose their meaning. */
  public String tacticTableHash() {
    return using(backend::tacticTableHash);
  }

  /** Version of the native library's binary interface; "unknown" where there is none. */
  public String libraryAbi() {
    return using(backend::libraryAbi);
  }

  /**
   * A timer of launches for tuning, to be closed by the caller after its timings; confined to one
   * thread.
   */
  public LaunchTimer newLaunchTimer() {
    return using(() -> new DeviceLaunchTimer(this, backend.newLaunchTimer()));
  }

  /**
   * A stream of this CUDA device, to be closed by the caller.
   *
   * @throws NativeLibraryException when the library behind streams is missing, with the remedy
   */
  public CudaStream newStream() {
    return using(() -> new CudaStream(this, streams("stream")));
  }

  /**
   * An event of this CUDA device, to be closed by the caller.
   *
   * @throws NativeLibraryException when the library behind events is missing, with the remedy
   */
  public CudaEvent newEvent() {
    return using(() -> new CudaEvent(this, streams("event")));
  }

  private BackendStreams streams(String what) {
    return backend
        .streams()
        .orElseThrow(
            () ->
                new InvalidArgumentException(
                    "device", device(), "a CUDA device, for a new " + what));
  }

  /** Resources of the whole process that nobody closed and the garbage collector freed. */
  public static long leakedResources() {
    return NativeResource.leaked();
  }

  /** Uninitialized storage, to be closed by the caller. */
  public OwnedTensor allocate(TensorSpec spec) {
    Arguments.notNull("spec", spec);
    return using(
        () -> {
          DeviceMemory memory = backend.allocate(spec.bytes());
          return new OwnedTensor(spec, this, memory);
        });
  }

  /**
   * Storage with a copy of the remaining bytes of {@code source}, to be closed by the caller. Waits
   * for the copy: any stream may use it next.
   */
  public OwnedTensor upload(TensorSpec spec, ByteBuffer source) {
    OwnedTensor tensor = allocate(spec);
    try {
      tensor.copyFrom(source);
      return tensor;
    } catch (Throwable e) {
      tensor.close();
      throw e;
    }
  }

  /**
   * A tensor over memory of this device that the caller keeps alive, e.g. a server's own CUDA
   * allocation.
   */
  public BorrowedTensor borrow(TensorSpec spec, long address) {
    Arguments.notNull("spec", spec);
    boolean nowhere = address == 0 && spec.bytes() > 0;
    if (nowhere || address < 0 || address > Long.MAX_VALUE - spec.bytes()) {
      throw new InvalidArgumentException(
          "address", "0x" + Long.toHexString(address), "the address of " + spec);
    }
    checkAligned("address", spec, address);
    return new BorrowedTensor(spec, this, address, true, null);
  }

  /**
   * A tensor over the remaining bytes of a direct little-endian buffer; CPU only, no copy. Over a
   * read-only buffer, e.g. a mapped file, it serves as input alone.
   */
  public BorrowedTensor borrow(TensorSpec spec, ByteBuffer direct) {
    Arguments.notNull("spec", spec);
    Arguments.notNull("direct", direct);
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
    long address = using(() -> backend.addressOf(direct));
    checkAligned("direct", spec, address);
    // The tensor keeps the buffer, and so its memory.
    return new BorrowedTensor(spec, this, address, !direct.isReadOnly(), direct);
  }

  /**
   * A tensor over the memory of a DLPack tensor, without a copy, to be closed by the caller: it
   * takes over the {@code DLManagedTensor}, and closing it calls the producer's deleter. What is
   * refused, because it is not what {@code spec} says or not contiguous, stays the caller's. Types
   * of one byte may come as unsigned bytes. Launches do not wait for the producer's work.
   *
   * @param managedTensor address of a {@code DLManagedTensor}, in host memory
   */
  public OwnedTensor importDlpack(TensorSpec spec, long managedTensor) {
    Arguments.notNull("spec", spec);
    if (managedTensor <= 0 || managedTensor % Long.BYTES != 0) {
      throw new InvalidArgumentException(
          "managedTensor",
          "0x" + Long.toHexString(managedTensor),
          "the address of a DLManagedTensor");
    }
    return using(() -> new OwnedTensor(spec, this, backend.importDlpack(spec, managedTensor)));
  }

  private static void checkAligned(String name, TensorSpec spec, long address) {
    if (address % spec.dtype().bytes() != 0) {
      throw new InvalidArgumentException(
          name, "address 0x" + Long.toHexString(address), "one aligned for " + spec.dtype());
    }
  }

  long exportDlpack(Tensor tensor) {
    // DLPack cannot say that nobody may write, and who did would end the process.
    TensorChecks.isWritable("tensor", tensor);
    tensor.acquire();
    try {
      // The reference in the release keeps the tensor from being collected.
      return using(() -> backend.exportDlpack(tensor.spec(), tensor.address(), tensor::release));
    } catch (Throwable e) {
      tensor.release();
      throw e;
    }
  }

  ByteBuffer view(Tensor tensor) {
    if (device().kind() != DeviceKind.CPU) {
      throw new InvalidArgumentException("device", device(), "cpu, for direct access");
    }
    if (tensor.spec().bytes() > Integer.MAX_VALUE) {
      throw new InvalidArgumentException("tensor", tensor, "fewer than 2 GiB for direct access");
    }
    tensor.acquire();
    try {
      ByteBuffer memory = using(() -> backend.view(tensor.address(), tensor.spec().bytes()));
      NativeResource.keepReachable(tensor, memory);
      return (tensor.writable() ? memory : memory.asReadOnlyBuffer())
          .order(ByteOrder.LITTLE_ENDIAN);
    } finally {
      tensor.release();
    }
  }

  /**
   * Copies the remaining bytes of {@code source}, which has to have the tensor's size, into it, in
   * the stream's order. The buffer's position stays. A buffer of pinned memory must stay unchanged
   * and allocated until the stream is synchronized; any other may be reused at once.
   */
  public void copyToDevice(Tensor destination, ByteBuffer source, Stream stream) {
    checkCopy("destination", destination, "source", source);
    StreamUse.refuseCapture(stream);
    TensorChecks.isWritable("destination", destination);
    TensorUse.during(
        this,
        stream,
        handle -> {
          try {
            backend.copyToDevice(destination.address(), source.duplicate(), handle);
          } finally {
            Reference.reachabilityFence(source);
          }
        },
        destination);
  }

  /**
   * Copies a tensor into the remaining bytes of {@code destination} and waits for it. The buffer's
   * position stays.
   */
  public void copyToHost(Tensor source, ByteBuffer destination, Stream stream) {
    checkCopy("source", source, "destination", destination);
    StreamUse.refuseCapture(stream);
    if (destination.isReadOnly()) {
      throw new InvalidArgumentException("destination", "a read-only buffer", "a writable one");
    }
    TensorUse.during(
        this,
        stream,
        handle -> {
          try {
            backend.copyToHost(destination.duplicate(), source.address(), handle);
          } finally {
            Reference.reachabilityFence(destination);
          }
        },
        source);
  }

  private void checkCopy(String tensorName, Tensor tensor, String bufferName, ByteBuffer buffer) {
    Arguments.notNull(tensorName, tensor);
    Arguments.notNull(bufferName, buffer);
    TensorChecks.isOn(tensorName, tensor, this);
    if (buffer.remaining() != tensor.spec().bytes()) {
      throw new InvalidArgumentException(
          bufferName, buffer.remaining() + " bytes", tensor.spec().bytes() + " bytes of " + tensor);
    }
  }

  /** Waits for all work of a stream; returns at once on the CPU. */
  public void synchronize(Stream stream) {
    StreamUse.refuseCapture(stream);
    TensorUse.during(this, stream, backend::synchronize);
  }

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

  /** Operations on block formats on this device. */
  public BlockFormats blockFormats() {
    return new BlockFormats(this);
  }

  BackendDevice backend() {
    return backend;
  }

  /** Begins a use of the device; pairs with {@link #release}. */
  void acquire() {
    resource.acquire();
  }

  /** Ends a use. */
  void release() {
    resource.release();
  }

  /** Runs an operation of the back end that returns something. */
  <T> T using(Supplier<T> operation) {
    acquire();
    try {
      return operation.get();
    } finally {
      release();
      Reference.reachabilityFence(this);
    }
  }

  /**
   * Makes something that lives on this device count as a use of it until it is freed. The result
   * frees it, and refers to this device: the collector cannot free a device before what is on it.
   */
  Runnable owned(Runnable free) {
    acquire();
    return () -> {
      try {
        free.run();
      } finally {
        release();
      }
    };
  }

  /** Closes the device. Refused while it is in use; the second call does nothing. */
  @Override
  public void close() {
    resource.close();
  }
}
