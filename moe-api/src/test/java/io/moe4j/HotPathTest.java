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
  private static final int BATCHES = 20;
  private static final int RUNS = 2_000;

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
      // The least of some batches: while code is still being compiled, the JVM itself allocates
      // some hundred bytes now and then. A run that allocated would do so in every batch.
      long bytes = Long.MAX_VALUE;
      for (int batch = 0; batch < BATCHES; batch++) {
        bytes = Math.min(bytes, bytesAllocatedByRuns(f, calls));
      }
      assertEquals(0, bytes);
    }
  }

  private static long bytesAllocatedByRuns(LayerFixture f, MoeCall[] calls) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = threads.getCurrentThreadAllocatedBytes();
    for (int i = 0; i < RUNS; i++) {
      for (MoeCall call : calls) {
        f.layer.run(call, f.workspace);
      }
    }
    return threads.getCurrentThreadAllocatedBytes() - before;
  }
}
