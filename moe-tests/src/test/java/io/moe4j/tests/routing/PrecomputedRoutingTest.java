package io.moe4j.tests.routing;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.moe4j.DeviceCounters;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.RoutingMode;
import io.moe4j.Stream;
import io.moe4j.Tactic;
import io.moe4j.Workspace;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestLayer;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A launch runs a routing method if and only if it was given logits, whatever the tactic. */
class PrecomputedRoutingTest {

  @ParameterizedTest
  @CsvSource({
    "FROM_LOGITS, 1",
    "FROM_LOGITS, 16",
    "PACKED, 1",
    "PACKED, 16",
    "UNPACKED, 1",
    "UNPACKED, 16"
  })
  void onlyLogitsAreRouted(RoutingMode mode, int tokens) {
    LayerDraw draw = LayerDraw.PLAIN.experts(16, 4).tokens(tokens).mode(mode);
    TestLayer numbers = draw.layer();
    try (MoeDevice device = TestDevice.open();
        MoeLayer layer = device.prepare(numbers.spec(), numbers);
        DeviceCall call = new DeviceCall(device, numbers.spec(), draw.call());
        Workspace workspace = layer.newWorkspace(tokens)) {
      for (Tactic tactic : layer.tactics(tokens)) {
        DeviceCounters before = device.counters();
        layer.run(call.call(), tactic, workspace, Stream.DEFAULT);
        layer.run(call.call(), workspace);
        device.synchronize(Stream.DEFAULT);
        DeviceCounters after = device.counters();
        assertEquals(2, after.launches() - before.launches(), () -> "launches of " + tactic);
        assertEquals(
            mode == RoutingMode.FROM_LOGITS ? 2 : 0,
            after.routingLaunches() - before.routingLaunches(),
            () -> "routing launches of " + tactic);
      }
    }
  }
}
