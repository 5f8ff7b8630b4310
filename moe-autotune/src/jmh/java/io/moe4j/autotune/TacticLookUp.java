package io.moe4j.autotune;

import io.moe4j.MoeCall;
import io.moe4j.RoutingMode;
import io.moe4j.Tactic;
import io.moe4j.TacticSelector;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.testing.TestLayers;
import java.util.concurrent.TimeUnit;
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
import org.openjdk.jmh.annotations.Threads;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What it costs a launch to ask the tuner: a shape that is tuned, one that is not, and two threads
 * that ask at once for token counts that change from call to call. Each has to stay under 200 ns,
 * and the garbage collector's profiler has to show 0 bytes an operation:
 *
 * <pre>
 * mvn -pl moe-autotune -am verify -Pjmh-autotune -DskipTests -Djmh.args="TacticLookUp -prof gc"
 * </pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(2)
public class TacticLookUp {
  private static final int SHAPES = 64;

  private Tuned tuned;
  private TacticSelector selector;
  private final TestLayers.Call[] calls = new TestLayers.Call[SHAPES];
  private TestLayers.Call untuned;

  /** Where a thread is in the sequence of shapes. */
  @State(Scope.Thread)
  public static class Position {
    private int next;
  }

  /** Tunes one kind of call and leaves another alone. */
  @Setup(Level.Trial)
  public void tune() {
    tuned = new Tuned(Tuned.threeTactics(), o -> o.buckets(TokenBuckets.powersOfTwo(SHAPES)));
    tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
    selector = tuned.tuner.bind(tuned.layer);
    for (int i = 0; i < SHAPES; i++) {
      calls[i] = new TestLayers.Call(tuned.device, tuned.spec, RoutingMode.PACKED, i + 1);
    }
    untuned = new TestLayers.Call(tuned.device, tuned.spec, RoutingMode.UNPACKED, 16);
  }

  private MoeCall next(Position position) {
    position.next = (position.next + 1) % SHAPES;
    return calls[position.next].call();
  }

  /** One thread, tuned shapes. */
  @Benchmark
  public Tactic hit(Position position) {
    return selector.select(next(position));
  }

  /** Two threads, tuned shapes. */
  @Benchmark
  @Threads(2)
  public Tactic hitOfTwoThreads(Position position) {
    return selector.select(next(position));
  }

  /** One thread, a shape that no tuning covers: the default, and a count. */
  @Benchmark
  public Tactic miss() {
    return selector.select(untuned.call());
  }

  /** Frees everything. */
  @TearDown(Level.Trial)
  public void close() {
    for (TestLayers.Call call : calls) {
      call.close();
    }
    untuned.close();
    tuned.close();
  }
}
