package io.moe4j.autotune;

import com.google.common.collect.ImmutableMap;
import io.moe4j.MoeCall;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeSpec;
import io.moe4j.RoutingMode;
import io.moe4j.RoutingSkew;
import io.moe4j.Workspace;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeTactic;
import io.moe4j.autotune.testing.TestLayers;
import java.util.function.UnaryOperator;

/** A small layer on a fake GPU with a tuner. */
final class Tuned implements AutoCloseable {
  static final CallKind PACKED = CallKind.of(RoutingMode.PACKED);

  final FakeGpu gpu;
  final Autotuner tuner;
  final MoeDevice device;
  final MoeSpec spec;
  final MoeLayer layer;
  final Workspace workspace;

  Tuned(FakeGpu gpu, UnaryOperator<TunerOptions.Builder> change) {
    this(gpu, TestLayers.spec().build(), change);
  }

  Tuned(FakeGpu gpu, MoeSpec spec, UnaryOperator<TunerOptions.Builder> change) {
    this(gpu, spec, Autotuner.create(change.apply(options(gpu)).build()));
  }

  Tuned(FakeGpu gpu, Autotuner tuner) {
    this(gpu, TestLayers.spec().build(), tuner);
  }

  private Tuned(FakeGpu gpu, MoeSpec spec, Autotuner tuner) {
    gpu.lastLevelCacheBytes(1 << 12);
    this.gpu = gpu;
    this.spec = spec;
    this.tuner = tuner;
    this.device = gpu.open();
    this.layer = device.prepare(spec, expert -> TestLayers.weights(spec), tuner);
    this.workspace = layer.newWorkspace(8192);
  }

  /** Three tactics, of which the last is the fastest from 16 tokens on. */
  static FakeGpu threeTactics() {
    return new FakeGpu(
        FakeTactic.of("default", (work, launch) -> 10e3 + 1e3 * work.tokens()),
        FakeTactic.of("few", (work, launch) -> 5e3 + 1e3 * work.tokens()),
        FakeTactic.of("many", (work, launch) -> 12e3 + 0.5e3 * work.tokens()));
  }

  /** Powers of two to 64, uniform routing alone, no plans of other tests. */
  static TunerOptions.Builder options(FakeGpu gpu) {
    return TunerOptions.builder()
        .ticker(gpu.clock())
        .bundledPlans(false)
        .blend(ImmutableMap.of(RoutingSkew.UNIFORM, 1.0))
        .buckets(TokenBuckets.powersOfTwo(64));
  }

  /** Runs a call as production does; the tactic that it ran with. */
  String run(RoutingMode mode, long tokens) {
    return run(mode, tokens, RoutingSkew.UNKNOWN);
  }

  String run(RoutingMode mode, long tokens, RoutingSkew skew) {
    try (TestLayers.Call call = new TestLayers.Call(device, spec, mode, tokens)) {
      return run(call.call().withSkew(skew));
    }
  }

  String run(MoeCall call) {
    layer.run(call, workspace);
    return gpu.launches().get(gpu.launches().size() - 1).tactic();
  }

  /** What an uncounted look-up of a token count gives. */
  Selection covered(long tokens) {
    return tuner.coverage(layer, PACKED, tokens).shapes().get(0).selection();
  }

  @Override
  public void close() {
    workspace.close();
    layer.close();
    device.close();
  }
}
