package io.moe4j.tests.jmh;

import io.moe4j.DType;
import io.moe4j.MoeCall;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeSpec;
import io.moe4j.RoutingMode;
import io.moe4j.Workspace;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.RowStorage;
import io.moe4j.tests.fixtures.TestCall;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestExpert;
import io.moe4j.tests.fixtures.TestRouting;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * {@link MoeLayer#run} for one token of Qwen3-30B-A3B's layer on two threads, on eight sets of
 * experts in turn, so that none finds its weights in a cache. It is what {@code moe4j_bench --layer
 * Qwen3-30B-A3B --tokens 1 --threads 2} times without Java. All experts have the same numbers, each
 * in memory of its own.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class OneTokenOfQwen3 {
  private static final int CALLS = 8;

  private MoeDevice device;
  private MoeLayer layer;
  private DeviceCall[] tensors;
  private MoeCall[] calls;
  private Workspace workspace;
  private int next;

  /** Prepares the layer and the calls. */
  @Setup(Level.Trial)
  public void prepare() {
    LayerDraw draw = LayerDraw.PLAIN.sizes(128, 48).tokens(1).mode(RoutingMode.UNPACKED);
    TestExpert expert = draw.experts(1, 1).layer().experts().get(0);
    MoeSpec spec = draw.experts(128, 8).spec();
    device = TestDevice.open();
    layer = device.prepare(spec, heldExpert -> expert.weights(RowStorage.COMPACT));
    tensors =
        IntStream.range(0, CALLS)
            .mapToObj(i -> new DeviceCall(device, spec, withExperts(draw.call(), spec, i)))
            .toArray(DeviceCall[]::new);
    calls =
        Arrays.stream(tensors)
            .map(DeviceCall::call)
            .map(all -> MoeCall.of(all.routing(), all.hiddenStates(), all.output()))
            .toArray(MoeCall[]::new);
    workspace = layer.newWorkspace(1);
  }

  /** The call on experts far apart, beginning with the first: no other call has any of them. */
  private static TestCall withExperts(TestCall call, MoeSpec spec, int first) {
    int step = spec.numExperts() / spec.topK();
    int[][] ids = {IntStream.range(0, spec.topK()).map(i -> first + i * step).toArray()};
    double[][] weights = {IntStream.range(0, spec.topK()).mapToDouble(i -> 0.125).toArray()};
    return new TestCall(
        new TestRouting(RoutingMode.UNPACKED, DType.F32, null, null, ids, weights),
        call.hiddenStates(),
        call.perTokenScale(),
        call.loraDelta(),
        call.addend(),
        call.outputDtype(),
        call.finalized());
  }

  /** One call. */
  @Benchmark
  public void run() {
    layer.run(calls[next++ % CALLS], workspace);
  }

  /** Frees everything. */
  @TearDown(Level.Trial)
  public void close() {
    workspace.close();
    Arrays.stream(tensors).forEach(DeviceCall::close);
    layer.close();
    device.close();
  }
}
