package io.moe4j.autotune;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.MoeDevice;
import io.moe4j.autotune.testing.FakeGpu;
import java.lang.ref.WeakReference;
import org.junit.jupiter.api.Test;

/** What a tuner that lives on keeps of what it tuned. */
class TunerMemoryTest {
  @Test
  void aTunedDeviceThatNobodyUsesAnyMoreIsCollected() throws InterruptedException {
    FakeGpu gpu = Tuned.threeTactics();
    Autotuner tuner = Autotuner.create(Tuned.options(gpu).build());
    WeakReference<MoeDevice> device = tuneOnce(gpu, tuner);
    for (int attempt = 0; attempt < 100 && !device.refersTo(null); attempt++) {
      System.gc();
      Thread.sleep(20);
    }
    assertTrue(device.refersTo(null), "the tuner keeps the device");
    assertTrue(tuner.statistics().launches() > 0, "the tuner itself is in use");
  }

  private static WeakReference<MoeDevice> tuneOnce(FakeGpu gpu, Autotuner tuner) {
    try (Tuned tuned = new Tuned(gpu, tuner)) {
      tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      return new WeakReference<>(tuned.device);
    }
  }
}
