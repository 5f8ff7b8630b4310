package io.moe4j.tests.tuning;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingMode;
import io.moe4j.Stream;
import io.moe4j.Workspace;
import io.moe4j.autotune.Autotuner;
import io.moe4j.autotune.TunerOptions;
import io.moe4j.autotune.TuningOptions;
import io.moe4j.autotune.TuningReport;
import io.moe4j.autotune.isolation.IsolationOptions;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.search.BucketResult.Status;
import io.moe4j.autotune.search.TacticTiming.Outcome;
import io.moe4j.tests.fixtures.CallOption;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.Judge;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestLayer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Layers of every kind are tuned on the real device: no tactic fails or disagrees with the default,
 * and the chosen one computes what the oracle does.
 */
class TunedLayersTest {
  private static final LayerDraw SMALL = LayerDraw.PLAIN.sizes(2, 2).experts(16, 4);

  static List<Arguments> formats() {
    List<Arguments> pairs = new ArrayList<>();
    for (QuantFormat weights : QuantFormat.values()) {
      for (QuantFormat activations : QuantFormat.values()) {
        boolean meaningless = activations == QuantFormat.INT8 && weights == QuantFormat.BF16;
        if (weights.isForWeights() && activations.isForActivations() && !meaningless) {
          pairs.add(Arguments.of(weights, activations));
        }
      }
    }
    return pairs;
  }

  @ParameterizedTest
  @MethodSource
  void formats(QuantFormat weights, QuantFormat activations) {
    tuneAndRun(SMALL.formats(weights, activations));
  }

  @ParameterizedTest
  @EnumSource(
      names = {
        "BIASES",
        "EXPERT_PARALLEL",
        "SHARED_EXPERTS",
        "QUANTIZED_INPUT",
        "PER_TOKEN_SCALE",
        "LORA",
        "NOT_FINALIZED"
      })
  void options(CallOption option) {
    tuneAndRun(
        SMALL
            .formats(QuantFormat.NVFP4, QuantFormat.NVFP4)
            .options(option)
            .method(RoutingMethod.DEEPSEEK_V3)
            .mode(RoutingMode.FROM_LOGITS));
  }

  private static void tuneAndRun(LayerDraw draw) {
    TestLayer numbers = draw.layer();
    Autotuner tuner = tuner(TunerOptions.builder());
    try (MoeDevice device = TestDevice.open()) {
      boolean forCpus = numbers.spec().activationFormat() == QuantFormat.INT8;
      assumeTrue(TestDevice.isCpu(device) || !forCpus, "only CPUs have INT8 activations");
      tuneAndRun(device, draw, numbers, tuner);
    }
  }

  private static void tuneAndRun(
      MoeDevice device, LayerDraw draw, TestLayer numbers, Autotuner tuner) {
    try (MoeLayer layer = device.prepare(numbers.spec(), numbers, tuner)) {
      for (int tokens : new int[] {1, 16}) {
        LayerDraw some = draw.tokens(tokens);
        try (DeviceCall call = new DeviceCall(device, numbers.spec(), some.call());
            Workspace workspace = layer.newWorkspace(tokens)) {
          CallKind kind = CallKind.of(call.call());
          check(tuner.tune(layer, kind, TuningOptions.DEFAULT));
          tuner.coverage(layer, kind, tokens).requireComplete();
          call.poison();
          layer.run(call.call(), workspace);
          device.synchronize(Stream.DEFAULT);
          new Judge(numbers, some.call()).check(call.call(), "tuned, " + some);
        }
      }
    }
  }

  private static void check(TuningReport report) {
    assertEquals(List.of(), report.blocked(), report::toString);
    report
        .results()
        .forEach(
            result -> {
              assertEquals(Status.TUNED, result.status(), report::toString);
              result
                  .timings()
                  .forEach(timing -> assertTrue(!timing.outcome().isFailure(), timing::toString));
            });
  }

  /** The library is loaded, the device opened and every tactic launched by another process too. */
  @Test
  void everyTacticSurvivesInAnotherProcess() {
    LayerDraw draw = SMALL.formats(QuantFormat.MXFP4, QuantFormat.BF16);
    TestLayer numbers = draw.layer();
    Autotuner tuner = tuner(TunerOptions.builder().isolation(IsolationOptions.DEFAULT));
    try (MoeDevice device = TestDevice.open();
        MoeLayer layer = device.prepare(numbers.spec(), numbers, tuner)) {
      TuningReport report =
          tuner.tune(layer, CallKind.of(RoutingMode.UNPACKED), TuningOptions.DEFAULT);
      check(report);
      assertEquals(List.of(), tuner.statistics().problems());
      assertTrue(
          report.results().get(0).timings().stream()
              .noneMatch(timing -> timing.outcome() == Outcome.CRASHED));
    }
  }

  private static Autotuner tuner(TunerOptions.Builder options) {
    return Autotuner.create(options.bundledPlans(false).buckets(TokenBuckets.of(1, 16)).build());
  }
}
