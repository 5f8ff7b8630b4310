package io.moe4j.testing;

import io.moe4j.DType;
import io.moe4j.Device;
import io.moe4j.DeviceCounters;
import io.moe4j.DeviceInfo;
import io.moe4j.DeviceKind;
import io.moe4j.ExpertWeights;
import io.moe4j.MoeCall;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.Tactic;
import io.moe4j.spi.BackendDevice;
import io.moe4j.spi.BackendLayer;
import io.moe4j.spi.BackendStreams;
import io.moe4j.spi.DeviceMemory;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.NavigableMap;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.LongFunction;

/**
 * A device that keeps memory and counts, and computes nothing. What real back ends forbid — freeing
 * twice, closing too early, touching memory that was freed — it reports with an {@link
 * AssertionError}. Hooks let a test look into launches, hold them up, or make them fail.
 */
public final class FakeDevice implements BackendDevice {
  private static final long ALIGNMENT = 256;
  private static final long FIRST_ADDRESS = 1L << 42;

  /** Host buffers get addresses from here on; below it, allocations. */
  private static final long HOST_ADDRESS = 1L << 43;

  private final Device device;
  private final NavigableMap<Long, ByteBuffer> memory = new TreeMap<>();
  private final List<String> operations = new ArrayList<>();
  private final FakeStreams streams = new FakeStreams();
  private long nextAddress = FIRST_ADDRESS;
  private boolean closed;

  final AtomicLong liveBytes = new AtomicLong();
  final AtomicLong liveAllocations = new AtomicLong();
  final AtomicLong liveLayers = new AtomicLong();
  final AtomicLong launches = new AtomicLong();
  final AtomicLong routingLaunches = new AtomicLong();

  private volatile LongFunction<List<Tactic>> tactics =
      tokens -> List.of(new Tactic("fake.t8", 0), new Tactic("fake.t64", 1));
  private volatile BiConsumer<MoeCall, Tactic> onLaunch = (call, tactic) -> {};
  private volatile Consumer<ExpertWeights> onExpert = weights -> {};
  private volatile Consumer<String> onOperation = name -> {};

  FakeDevice(DeviceKind kind, int index) {
    this.device = new Device(kind, index);
  }

  // ---- what tests set and see

  /** Replaces the tactics of all layers, for any number of tokens; the first is the default. */
  public void setTactics(List<Tactic> tactics) {
    List<Tactic> copy = List.copyOf(tactics);
    setTactics(tokens -> copy);
  }

  /** Replaces the tactics of all layers for each number of tokens; the first is the default. */
  public void setTactics(LongFunction<List<Tactic>> tactics) {
    this.tactics = tactics;
  }

  /** Called within every launch. */
  public void onLaunch(BiConsumer<MoeCall, Tactic> hook) {
    onLaunch = hook;
  }

  /** Called with every expert that a layer is given. */
  public void onExpert(Consumer<ExpertWeights> hook) {
    onExpert = hook;
  }

  /** Called within every operation that is no launch, with its name. */
  public void onOperation(Consumer<String> hook) {
    onOperation = hook;
  }

  /** Names of operations other than launches, in order. */
  public synchronized List<String> operations() {
    return List.copyOf(operations);
  }

  /** Its streams, whatever its kind. */
  public FakeStreams fakeStreams() {
    return streams;
  }

  /** Whether the device was closed. */
  public synchronized boolean isClosed() {
    return closed;
  }

  // ---- what layers ask

  List<Tactic> tactics(long tokens) {
    return tactics.apply(tokens);
  }

  void launch(MoeCall call, Tactic tactic, long stream) {
    onLaunch.accept(call, tactic);
    streams.work(stream);
  }

  void expert(ExpertWeights weights) {
    onExpert.accept(weights);
  }

  // ---- the back end

  @Override
  public DeviceInfo info() {
    return new DeviceInfo(device, "fake", 1, 0, 0, 1L << 30, 1L << 20, "none");
  }

  @Override
  public DeviceCounters counters() {
    return new DeviceCounters(
        liveBytes.get(),
        liveAllocations.get(),
        liveLayers.get(),
        launches.get(),
        routingLaunches.get());
  }

  @Override
  public String tacticTableHash() {
    return "fake";
  }

  @Override
  public Optional<BackendStreams> streams() {
    return device.kind() == DeviceKind.CUDA ? Optional.of(streams) : Optional.empty();
  }

  @Override
  public synchronized DeviceMemory allocate(long bytes) {
    checkOpen();
    long address = nextAddress;
    nextAddress += (bytes / ALIGNMENT + 2) * ALIGNMENT;
    memory.put(address, ByteBuffer.allocateDirect(Math.toIntExact(bytes)));
    liveBytes.addAndGet(bytes);
    liveAllocations.incrementAndGet();
    return new FakeMemory(address, bytes);
  }

  private final class FakeMemory implements DeviceMemory {
    private final long address;
    private final long bytes;

    FakeMemory(long address, long bytes) {
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

    @Override
    public void close() {
      synchronized (FakeDevice.this) {
        checkOpen();
        if (memory.remove(address) == null) {
          throw new AssertionError("freed twice");
        }
        liveBytes.addAndGet(-bytes);
        liveAllocations.decrementAndGet();
      }
    }
  }

  @Override
  public synchronized long addressOf(ByteBuffer direct) {
    // All that Java tells of a direct buffer's address are its lower bits: enough to be the same
    // for the same memory, and to be aligned as it is.
    long address = HOST_ADDRESS + direct.alignmentOffset(direct.position(), 1 << 30);
    memory.put(address, direct.slice());
    return address;
  }

  @Override
  public synchronized ByteBuffer view(long address, long bytes) {
    checkOpen();
    long start = memory.floorKey(address);
    return memory.get(start).slice(Math.toIntExact(address - start), Math.toIntExact(bytes));
  }

  @Override
  public void copyToDevice(long destination, ByteBuffer source, long stream) {
    operate("copyToDevice");
    view(destination, source.remaining()).put(source);
  }

  @Override
  public void copyToHost(ByteBuffer destination, long source, long stream) {
    operate("copyToHost");
    destination.put(view(source, destination.remaining()));
  }

  @Override
  public void synchronize(long stream) {
    operate("synchronize");
  }

  @Override
  public BackendLayer createLayer(MoeSpec spec) {
    checkOpen();
    return new FakeLayer(this, spec);
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
    operate("quantize");
    streams.work(stream);
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
    operate("dequantize");
    streams.work(stream);
  }

  @Override
  public long swizzledScaleBytes(long rows, long columns) {
    return (rows + 127) / 128 * 128 * ((columns + 3) / 4 * 4);
  }

  @Override
  public void swizzleScales(long rows, long columns, long linear, long swizzled, long stream) {
    operate("swizzleScales");
    streams.work(stream);
  }

  @Override
  public void unswizzleScales(long rows, long columns, long swizzled, long linear, long stream) {
    operate("unswizzleScales");
    streams.work(stream);
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
    operate("routerLogits " + tokens + " " + hiddenSize + " " + numExperts);
    streams.work(stream);
  }

  private void operate(String name) {
    checkOpen();
    synchronized (this) {
      operations.add(name);
    }
    onOperation.accept(name);
  }

  private synchronized void checkOpen() {
    if (closed) {
      throw new AssertionError("used after it was closed");
    }
  }

  @Override
  public synchronized void close() {
    checkOpen();
    if (liveAllocations.get() != 0 || liveLayers.get() != 0 || streams.live() != 0) {
      throw new AssertionError("closed before what lives on it");
    }
    closed = true;
  }
}
