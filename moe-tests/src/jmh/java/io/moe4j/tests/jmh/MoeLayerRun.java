package io.moe4j.tests.jmh;

import io.moe4j.MoeCall;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.RoutingMode;
import io.moe4j.Stream;
import io.moe4j.TacticSelector;
import io.moe4j.Workspace;
import io.moe4j.autotune.Autotuner;
import io.moe4j.autotune.TunerOptions;
import io.moe4j.autotune.TuningOptions;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestLayer;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * {@link MoeLayer#run} for one token of a layer so small (H = 64, I = 64, 1 of 2 experts) that
 * validation, choice of the tactic, JNI and the launch are nearly all of it; on a CUDA device,
 * whose queue never fills, the host's part alone. The garbage collector's profiler has to show 0
 * bytes an operation:
 *
 * <pre>
 * mvn -pl moe-tests -am verify -Pjmh -DskipTests -Djmh.args="MoeLayerRun -prof gc"
 * </pre>
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class MoeLayerRun {
  /** A stream holds about a thousand kernels. */
  private static final int CALLS_IN_FLIGHT = 32;

  /** Where the routing comes from. */
  @Param RoutingMode routing;

  /** Whether a tuner that knows the shape chooses the tactic, or the back end's default runs. */
  @Param({"false", "true"})
  boolean tuned;

  private MoeDevice device;
  private MoeLayer layer;
  private DeviceCall tensors;
  private MoeCall call;
  private Workspace workspace;
  private int calls;

  /** Prepares the layer and, if asked for, tunes it. */
  @Setup(Level.Trial)
  public void prepare() {
    LayerDraw draw = LayerDraw.PLAIN.sizes(4, 4).experts(2, 1).tokens(1).mode(routing);
    TestLayer numbers = draw.layer();
    device = TestDevice.open();
    Autotuner tuner =
        Autotuner.create(
            TunerOptions.builder().bundledPlans(false).buckets(TokenBuckets.of(1)).build());
    layer = device.prepare(numbers.spec(), numbers, tuned ? tuner : TacticSelector.Source.DEFAULT);
    if (tuned) {
      tuner.tune(layer, CallKind.of(routing), TuningOptions.DEFAULT);
    }
    tensors = new DeviceCall(device, numbers.spec(), draw.call());
    MoeCall all = tensors.call();
    call = MoeCall.of(all.routing(), all.hiddenStates(), all.output());
    workspace = layer.newWorkspace(1);
  }

  /** Waits for the device now and then: a queue that is full would hold the next launch up. */
  @Setup(Level.Invocation)
  public void drain() {
    if (++calls % CALLS_IN_FLIGHT == 0) {
      device.synchronize(Stream.DEFAULT);
    }
  }

  /** One call. */
  @Benchmark
  public void run() {
    layer.run(call, workspace);
  }

  /** Frees everything. */
  @TearDown(Level.Trial)
  public void close() {
    workspace.close();
    tensors.close();
    layer.close();
    device.close();
  }
}
