package io.moe4j;

import static io.moe4j.LayerFixture.H;
import static io.moe4j.LayerFixture.K;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A layer without a tuner, on a device whose tactics take up to so many tokens, as GPUs' do. */
final class DefaultTacticsTest {
  private static final Tactic FEW = new Tactic("fake.few", 0);
  private static final Tactic SOME = new Tactic("fake.some", 1);
  private static final Tactic ANY = new Tactic("fake.any", 2);

  private final LayerFixture f = new LayerFixture();
  private final List<Long> lookUps = new ArrayList<>();
  private final List<Tactic> launched = new ArrayList<>();

  DefaultTacticsTest() {
    f.fake()
        .setTactics(
            tokens -> {
              lookUps.add(tokens);
              return tactics(tokens);
            });
    f.fake().onLaunch((call, tactic) -> launched.add(tactic));
  }

  private static List<Tactic> tactics(long tokens) {
    return tokens <= 8
        ? List.of(FEW, SOME, ANY)
        : tokens <= 256 ? List.of(SOME, ANY) : List.of(ANY);
  }

  @AfterEach
  void close() {
    f.close();
  }

  @Test
  void everyTokenCountRunsWithItsOwnDefault() {
    try (MoeLayer layer = f.device.prepare(f.spec, expert -> LayerFixture.expert(f.spec))) {
      for (long tokens = 1; tokens <= 520; tokens++) {
        runs(layer, tokens);
      }
      for (long tokens : new long[] {4095, 4096, 4097, MoeLayer.MAX_TOKENS, 257, 256, 9, 8, 1}) {
        runs(layer, tokens);
      }
    }
  }

  private void runs(MoeLayer layer, long tokens) {
    launched.clear();
    layer.run(call(tokens), f.workspace);
    assertEquals(List.of(tactics(tokens).get(0)), launched, () -> "of " + tokens + " tokens");
  }

  @Test
  void theBackEndIsAskedOncePerTokenCount() {
    try (MoeLayer layer = f.device.prepare(f.spec, expert -> LayerFixture.expert(f.spec))) {
      lookUps.clear();
      for (int round = 0; round < 3; round++) {
        for (long tokens : new long[] {0, 1, 9, 300}) {
          layer.run(call(tokens), f.workspace);
        }
      }
      assertEquals(List.of(1L, 9L, 300L), lookUps);
    }
  }

  /** A call whose tensors, which nobody reads, lie a terabyte apart. */
  private MoeCall call(long tokens) {
    return MoeCall.of(
        new Routing.Unpacked(
            f.device.borrow(TensorSpec.of(DType.I32, tokens, K), 1L << 40),
            f.device.borrow(TensorSpec.of(DType.F32, tokens, K), 2L << 40)),
        HiddenStates.bf16(f.device.borrow(TensorSpec.of(DType.BF16, tokens, H), 3L << 40)),
        new MoeOutput.Finalized(f.device.borrow(TensorSpec.of(DType.BF16, tokens, H), 4L << 40)));
  }
}
