package io.moe4j.autotune.testing;

import com.google.common.base.Splitter;
import io.moe4j.DeviceKind;
import io.moe4j.DeviceOptions;
import io.moe4j.MoeDevice;
import io.moe4j.spi.BackendDevice;
import io.moe4j.spi.BackendProvider;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.LongFunction;

/**
 * Opens fake GPUs and sets them up. The service file names it too: a probe's child process finds it
 * there, with the tactics of a system property, and every other process finds no device.
 */
public final class FakeGpu implements BackendProvider {
  /** "NAME=BEHAVIOUR,..." for a child process. */
  public static final String CHILD_TACTICS = "moe4j.test.tactics";

  final FakeClock clock = new FakeClock();
  final List<FakeLaunch> launches = Collections.synchronizedList(new ArrayList<>());
  String model = "Fake GPU 80GB";
  String kernels = "kernels-1";
  String abi = "1";
  int driverVersion = 13000;
  int computeUnits = 100;
  long memoryBytes = 1L << 30;
  long lastLevelCacheBytes = 1 << 20;
  long workspaceBytes = 256;
  long recordedLaunchBytes;
  boolean recording;
  int openTimings;
  int recordings;
  int eagerLaunches;
  private LongFunction<List<FakeTactic>> tactics;

  /** As a service finds it. */
  public FakeGpu() {
    this(ofProperty());
  }

  /** A GPU with these tactics for every number of tokens. */
  public FakeGpu(FakeTactic... tactics) {
    tactics(tactics);
  }

  private static FakeTactic[] ofProperty() {
    List<FakeTactic> tactics = new ArrayList<>();
    Splitter.on(',')
        .omitEmptyStrings()
        .withKeyValueSeparator('=')
        .split(System.getProperty(CHILD_TACTICS, ""))
        .forEach(
            (name, behaviour) ->
                tactics.add(
                    FakeTactic.of(name, 1).behaving(FakeTactic.Behaviour.valueOf(behaviour))));
    return tactics.toArray(FakeTactic[]::new);
  }

  /** Replaces the tactics. */
  public FakeGpu tactics(FakeTactic... tactics) {
    List<FakeTactic> list = List.of(tactics);
    return tactics(tokens -> list);
  }

  /** Replaces the tactics by those for a number of tokens. */
  public FakeGpu tactics(LongFunction<List<FakeTactic>> tactics) {
    this.tactics = tactics;
    return this;
  }

  /** Sets the marketing name. */
  public FakeGpu model(String model) {
    this.model = model;
    return this;
  }

  /** Sets the hash of the kernel table. */
  public FakeGpu kernels(String kernels) {
    this.kernels = kernels;
    return this;
  }

  /** Sets the library's ABI. */
  public FakeGpu abi(String abi) {
    this.abi = abi;
    return this;
  }

  /** Sets the driver's version. */
  public FakeGpu driverVersion(int version) {
    this.driverVersion = version;
    return this;
  }

  /** Sets the number of multiprocessors. */
  public FakeGpu computeUnits(int units) {
    this.computeUnits = units;
    return this;
  }

  /** Sets the size of the memory; allocations beyond it fail. */
  public FakeGpu memoryBytes(long bytes) {
    this.memoryBytes = bytes;
    return this;
  }

  /** Sets the size of the last-level cache. */
  public FakeGpu lastLevelCacheBytes(long bytes) {
    this.lastLevelCacheBytes = bytes;
    return this;
  }

  /** Sets the workspace that a launch needs. */
  public FakeGpu workspaceBytes(long bytes) {
    this.workspaceBytes = bytes;
    return this;
  }

  /**
   * Lets timers record launches as a graph, which takes so many bytes a launch, and replay it. A
   * replay keeps the host busy for a millisecond that the device's clock does not count.
   */
  public FakeGpu recordingGraphs(long bytesPerLaunch) {
    this.recording = true;
    this.recordedLaunchBytes = bytesPerLaunch;
    return this;
  }

  /** The clock that launches move. */
  public FakeClock clock() {
    return clock;
  }

  /** All launches so far. */
  public List<FakeLaunch> launches() {
    return List.copyOf(launches);
  }

  /** Launches of one tactic so far. */
  public long launches(String tactic) {
    return launches().stream().filter(launch -> launch.tactic().equals(tactic)).count();
  }

  /** Workspace that a launch needs. */
  public long workspaceBytes() {
    return workspaceBytes;
  }

  /** Graphs recorded so far. */
  public int recordings() {
    return recordings;
  }

  /** Launches so far that were not part of a graph. */
  public int eagerLaunches() {
    return eagerLaunches;
  }

  /** Prepared timings that nobody closed yet. */
  public int openTimings() {
    return openTimings;
  }

  List<FakeTactic> tacticsFor(long tokens) {
    return tactics.apply(tokens);
  }

  /** Opens it. */
  public MoeDevice open() {
    return MoeDevice.open(this, 0, DeviceOptions.DEFAULT);
  }

  @Override
  public DeviceKind kind() {
    return DeviceKind.CUDA;
  }

  @Override
  public int deviceCount() {
    return tactics.apply(1).isEmpty() ? 0 : 1;
  }

  @Override
  public String unavailableReason() {
    return "there are no CUDA devices in tests";
  }

  @Override
  public BackendDevice open(int index, DeviceOptions options) {
    return new FakeGpuDevice(this);
  }
}
