package io.moe4j;

import static io.moe4j.LayerFixture.H;
import static io.moe4j.LayerFixture.I;
import static io.moe4j.LayerFixture.K;
import static io.moe4j.LayerFixture.T;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** A run with everything in it: validation, overlap, uses, selection. */
final class HotPathTest {
  private static final int WARM_UP = 20_000;
  private static final int RUNS = 10_000;

  @Test
  void runAllocatesNothing() {
    try (LayerFixture f = new LayerFixture()) {
      MoeOutput output =
          new MoeOutput.Finalized(
              f.tensor(DType.F32, T, H), Optional.of(f.tensor(DType.F32, T, H)));
      MoeCall[] calls = {
        f.call(),
        MoeCall.of(f.logits(), f.hiddenStates(), output)
            .withPerTokenScale(f.tensor(DType.F32, T))
            .withGemm1LoraDelta(f.tensor(DType.BF16, T, K, 2 * I))
            .withRoutingReplay(f.tensor(DType.I16, T, K))
            .withTopk(f.tensor(DType.I32, T, K), f.tensor(DType.F32, T, K))
      };
      runAll(f, calls, WARM_UP);
      ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
      long before = threads.getCurrentThreadAllocatedBytes();
      runAll(f, calls, RUNS);
      long bytes = threads.getCurrentThreadAllocatedBytes() - before;
      // The virtual machine allocates a little of its own when it recompiles; the smallest object
      // in each run would be 16 bytes times as many runs.
      assertEquals(0, bytes / RUNS, () -> bytes + " bytes in " + RUNS + " rounds");
    }
  }

  private static void runAll(LayerFixture f, MoeCall[] calls, int runs) {
    for (int i = 0; i < runs; i++) {
      for (MoeCall call : calls) {
        f.layer.run(call, f.workspace);
      }
    }
  }
}
