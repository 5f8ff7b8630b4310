package io.moe4j.tests.numerics;

import io.moe4j.MoeDevice;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.LayerDraws;
import io.moe4j.tests.fixtures.TestDevice;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/**
 * Any layer, any call, every tactic: the output is the oracle's. Seeded; more draws with {@code
 * -Dmoe4j.tests.tries=1000}.
 */
class LayerPropertyTest {
  private static MoeDevice device;

  @BeforeContainer
  static void open() {
    device = TestDevice.open();
  }

  @AfterContainer
  static void close() {
    device.close();
  }

  @Provide
  Arbitrary<LayerDraw> layers() {
    return LayerDraws.all();
  }

  @Property(seed = "1")
  void everyTacticAgreesWithTheOracle(@ForAll("layers") LayerDraw draw) {
    LayerRun.check(device, draw);
  }
}
