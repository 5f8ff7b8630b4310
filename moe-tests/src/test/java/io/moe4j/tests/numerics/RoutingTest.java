package io.moe4j.tests.numerics;

import io.moe4j.MoeDevice;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingMode;
import io.moe4j.tests.fixtures.CallOption;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestDevice;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Each routing method and mode over numbers of experts: ids, weights, replay and the output. */
class RoutingTest {
  private static MoeDevice device;

  @BeforeAll
  static void open() {
    device = TestDevice.open();
  }

  @AfterAll
  static void close() {
    device.close();
  }

  @ParameterizedTest
  @EnumSource(RoutingMethod.class)
  void everyMethodFromLogits(RoutingMethod method) {
    LayerDraw draw = LayerDraw.PLAIN.sizes(2, 2).method(method).mode(RoutingMode.FROM_LOGITS);
    for (int experts : new int[] {1, 2, 8, 60, 128, 512}) {
      LayerDraw sized = draw.experts(experts, Math.min(experts, 8)).tokens(7);
      LayerRun.check(device, sized);
      LayerRun.check(device, sized.options(CallOption.BF16_ROUTING, CallOption.ROUTING_BIAS));
    }
    LayerRun.check(device, draw.options(CallOption.NO_NORM));
    LayerRun.check(device, draw.options(CallOption.EXPERT_PARALLEL).tokens(33));
  }

  @ParameterizedTest
  @CsvSource({"8, 2", "16, 8", "64, 8", "256, 8", "512, 10"})
  void groupedRouting(int experts, int topK) {
    LayerDraw draw =
        LayerDraw.PLAIN
            .sizes(2, 2)
            .method(RoutingMethod.DEEPSEEK_V3)
            .mode(RoutingMode.FROM_LOGITS)
            .experts(experts, topK);
    LayerRun.check(device, draw.options(CallOption.GROUPS));
    LayerRun.check(device, draw.options(CallOption.GROUPS, CallOption.ROUTING_BIAS).tokens(33));
    LayerRun.check(device, draw.options(CallOption.GROUPS, CallOption.SHARED_EXPERTS));
  }

  @ParameterizedTest
  @EnumSource(RoutingMode.class)
  void sharedExpertsInEveryMode(RoutingMode mode) {
    LayerDraw draw = LayerDraw.PLAIN.method(RoutingMethod.DEEPSEEK_V3).mode(mode).tokens(9);
    LayerRun.check(device, draw.options(CallOption.SHARED_EXPERTS));
    LayerRun.check(device, draw.options(CallOption.SHARED_EXPERTS, CallOption.NOT_FINALIZED));
    LayerRun.check(device, draw.options(CallOption.SHARED_EXPERTS, CallOption.LORA));
  }

  @ParameterizedTest
  @EnumSource(RoutingMode.class)
  void manyExpertsOfEachToken(RoutingMode mode) {
    LayerRun.check(device, LayerDraw.PLAIN.sizes(2, 2).experts(32, 32).mode(mode));
    LayerRun.check(device, LayerDraw.PLAIN.sizes(2, 2).experts(512, 32).mode(mode).tokens(33));
  }
}
