package io.moe4j;

import static io.moe4j.LayerFixture.E;
import static io.moe4j.LayerFixture.H;
import static io.moe4j.LayerFixture.I;
import static io.moe4j.LayerFixture.K;
import static io.moe4j.LayerFixture.T;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Each wrong call is refused with the name of the argument, and never reaches the back end. */
final class WrongCallTest {

  /** One way to be wrong. */
  record Wrong(String what, String argument, ThrowingCall call) {
    @Override
    public String toString() {
      return what;
    }
  }

  /** What a test does with a fixture. */
  @FunctionalInterface
  interface ThrowingCall {
    void with(LayerFixture f) throws Exception;
  }

  private static Wrong wrong(String what, String argument, ThrowingCall call) {
    return new Wrong(what, argument, call);
  }

  static Stream<Wrong> calls() {
    return Stream.of(
        wrong("null call", "call", f -> f.run(null)),
        wrong("null workspace", "workspace", f -> f.layer.run(f.call(), null)),
        wrong("null stream", "stream", f -> f.layer.run(f.call(), f.workspace, null)),
        wrong(
            "null tactic",
            "tactic",
            f -> f.layer.run(f.call(), null, f.workspace, io.moe4j.Stream.DEFAULT)),
        wrong("CUDA stream on the CPU", "stream", f -> f.layer.run(f.call(), f.workspace, () -> 8)),
        wrong("null routing", "routing", f -> f.call(null)),
        wrong(
            "null hidden states", "hiddenStates", f -> MoeCall.of(f.unpacked(), null, f.output())),
        wrong("null output", "output", f -> MoeCall.of(f.unpacked(), f.hiddenStates(), null)),
        wrong("null skew", "skew", f -> f.call().withSkew(null)),
        wrong("null per-token scale", "perTokenScale", f -> f.call().withPerTokenScale(null)),
        wrong("null delta", "gemm1LoraDelta", f -> f.call().withGemm1LoraDelta(null)),
        wrong("null replay", "routingReplay", f -> f.call().withRoutingReplay(null)),
        wrong("null ids", "topkIds", f -> f.call().withTopk(null, f.tensor(DType.F32, T, K))),
        wrong(
            "null weights", "topkWeights", f -> f.call().withTopk(f.tensor(DType.I32, T, K), null)),
        wrong("null hidden tensor", "hiddenStates", f -> HiddenStates.bf16(null)),
        wrong(
            "null scales",
            "hiddenStates.scales",
            f -> HiddenStates.nvfp4(f.tensor(DType.E2M1X2, T, H / 2), null, 1f)),
        wrong("null logits", "routing.logits", f -> new Routing.FromLogits(null)),
        wrong("null packed", "routing.packed", f -> new Routing.Packed(null)),
        wrong(
            "null routing ids",
            "routing.ids",
            f -> new Routing.Unpacked(null, f.tensor(DType.F32, T, K))),
        wrong(
            "null routing weights",
            "routing.weights",
            f -> new Routing.Unpacked(f.tensor(DType.I32, T, K), null)),
        wrong("null finalized output", "output", f -> new MoeOutput.Finalized(null)),
        wrong("null rows", "output.rows", f -> new MoeOutput.Permuted(null, null, null)),
        wrong(
            "hidden states of F32",
            "hiddenStates",
            f -> f.run(withHidden(f, f.tensor(DType.F32, T, H)))),
        wrong(
            "transposed hidden states",
            "hiddenStates",
            f -> f.run(withHidden(f, f.tensor(DType.BF16, H, T)))),
        wrong(
            "hidden states of one dimension",
            "hiddenStates",
            f -> f.run(withHidden(f, f.tensor(DType.BF16, T * H)))),
        wrong(
            "NVFP4 hidden states for BF16 activations",
            "hiddenStates.format",
            f ->
                f.run(
                    MoeCall.of(
                        f.unpacked(),
                        HiddenStates.nvfp4(
                            f.tensor(DType.E2M1X2, T, H / 2), f.tensor(DType.E4M3, T, H / 16), 1f),
                        f.output()))),
        wrong(
            "scales beside BF16",
            "hiddenStates.scales",
            f ->
                new HiddenStates(
                    QuantFormat.BF16,
                    f.tensor(DType.BF16, T, H),
                    Optional.of(f.tensor(DType.E4M3, T, H / 16)),
                    1f)),
        wrong(
            "NVFP4 without scales",
            "hiddenStates.scales",
            f ->
                new HiddenStates(
                    QuantFormat.NVFP4, f.tensor(DType.E2M1X2, T, H / 2), Optional.empty(), 1f)),
        wrong(
            "tensor scale of NaN",
            "hiddenStates.tensorScale",
            f ->
                HiddenStates.nvfp4(
                    f.tensor(DType.E2M1X2, T, H / 2), f.tensor(DType.E4M3, T, H / 16), Float.NaN)),
        wrong(
            "tensor scale for BF16",
            "hiddenStates.tensorScale",
            f ->
                new HiddenStates(
                    QuantFormat.BF16, f.tensor(DType.BF16, T, H), Optional.empty(), 2f)),
        wrong(
            "logits of too few experts",
            "routing.logits",
            f -> f.run(f.call(new Routing.FromLogits(f.tensor(DType.F32, T, E - 1))))),
        wrong(
            "logits of too many tokens",
            "routing.logits",
            f -> f.run(f.call(new Routing.FromLogits(f.tensor(DType.F32, T + 1, E))))),
        wrong(
            "logits of I32",
            "routing.logits",
            f -> f.run(f.call(new Routing.FromLogits(f.tensor(DType.I32, T, E))))),
        wrong(
            "bias of BF16",
            "routing.bias",
            f ->
                f.run(
                    f.call(
                        new Routing.FromLogits(
                            f.tensor(DType.F32, T, E), Optional.of(f.tensor(DType.BF16, E)))))),
        wrong(
            "packed routing of the wrong k",
            "routing.packed",
            f -> f.run(f.call(new Routing.Packed(f.tensor(DType.I32, T, K + 1))))),
        wrong(
            "ids of I16",
            "routing.ids",
            f ->
                f.run(
                    f.call(
                        new Routing.Unpacked(
                            f.tensor(DType.I16, T, K), f.tensor(DType.F32, T, K))))),
        wrong(
            "weights transposed",
            "routing.weights",
            f ->
                f.run(
                    f.call(
                        new Routing.Unpacked(
                            f.tensor(DType.I32, T, K), f.tensor(DType.F32, K, T))))),
        wrong(
            "per-token scale of BF16",
            "perTokenScale",
            f -> f.run(f.call().withPerTokenScale(f.tensor(DType.BF16, T)))),
        wrong(
            "delta without up",
            "gemm1LoraDelta",
            f -> f.run(f.call().withGemm1LoraDelta(f.tensor(DType.BF16, T, K, I)))),
        wrong(
            "replay of I32",
            "routingReplay",
            f -> f.run(f.call().withRoutingReplay(f.tensor(DType.I32, T, K)))),
        wrong(
            "top-k ids too small",
            "topkIds",
            f -> f.run(f.call().withTopk(f.tensor(DType.I32, T, 1), f.tensor(DType.F32, T, K)))),
        wrong(
            "top-k weights of BF16",
            "topkWeights",
            f -> f.run(f.call().withTopk(f.tensor(DType.I32, T, K), f.tensor(DType.BF16, T, K)))),
        wrong(
            "output of I32",
            "output",
            f -> f.run(withOutput(f, new MoeOutput.Finalized(f.tensor(DType.I32, T, H))))),
        wrong(
            "addend of BF16",
            "addend",
            f ->
                f.run(
                    withOutput(
                        f,
                        new MoeOutput.Finalized(
                            f.tensor(DType.BF16, T, H), Optional.of(f.tensor(DType.BF16, T, H)))))),
        wrong(
            "permuted rows too few",
            "output.rows",
            f -> f.run(withOutput(f, permuted(f, T, K, T * K)))),
        wrong(
            "permuted weights too few",
            "output.expertWeights",
            f -> f.run(withOutput(f, permuted(f, T * K, 1, T * K)))),
        wrong(
            "permuted index too short",
            "output.expandedToPermuted",
            f -> f.run(withOutput(f, permuted(f, T * K, K, T)))),
        wrong(
            "output is the addend",
            "output",
            f -> {
              Tensor both = f.tensor(DType.F32, T, H);
              f.run(withOutput(f, new MoeOutput.Finalized(both, Optional.of(both))));
            }),
        wrong(
            "output overlaps hidden states by a byte",
            "output",
            f -> {
              Tensor hidden = f.tensor(DType.BF16, T, H);
              Tensor output =
                  f.device.borrow(
                      TensorSpec.of(DType.BF16, T, H),
                      hidden.address() + hidden.spec().bytes() - 2);
              f.run(
                  MoeCall.of(
                      f.unpacked(), HiddenStates.bf16(hidden), new MoeOutput.Finalized(output)));
            }),
        wrong(
            "ids in and ids out are one tensor",
            "topkIds",
            f -> {
              Tensor ids = f.tensor(DType.I32, T, K);
              Routing routing = new Routing.Unpacked(ids, f.tensor(DType.F32, T, K));
              f.run(f.call(routing).withTopk(ids, f.tensor(DType.F32, T, K)));
            }),
        wrong(
            "hidden states of another device",
            "hiddenStates",
            f -> {
              try (LayerFixture other = new LayerFixture()) {
                f.run(withHidden(f, other.tensor(DType.BF16, T, H)));
              }
            }),
        wrong(
            "workspace of another device",
            "workspace",
            f -> {
              try (LayerFixture other = new LayerFixture()) {
                f.layer.run(f.call(), other.workspace);
              }
            }),
        wrong(
            "output over a read-only buffer",
            "output",
            f -> {
              ByteBuffer mapped = ByteBuffer.allocateDirect(T * H * 2).asReadOnlyBuffer();
              Tensor output = f.device.borrow(TensorSpec.of(DType.BF16, T, H), mapped);
              f.run(withOutput(f, new MoeOutput.Finalized(output)));
            }),
        wrong("too many tokens to plan for", "maxTokens", f -> f.layer.newWorkspace(1L << 40)),
        wrong("tactics for -1 tokens", "tokens", f -> f.layer.tactics(-1)));
  }

  private static MoeCall withHidden(LayerFixture f, Tensor hidden) {
    return MoeCall.of(f.unpacked(), HiddenStates.bf16(hidden), f.output());
  }

  private static MoeCall withOutput(LayerFixture f, MoeOutput output) {
    return MoeCall.of(f.unpacked(), f.hiddenStates(), output);
  }

  private static MoeOutput permuted(LayerFixture f, int rows, int slots, int index) {
    return new MoeOutput.Permuted(
        f.tensor(DType.BF16, rows, H), f.tensor(DType.F32, T, slots), f.tensor(DType.I32, index));
  }

  @ParameterizedTest
  @MethodSource("calls")
  void isRefusedByName(Wrong wrong) throws Exception {
    try (LayerFixture f = new LayerFixture()) {
      f.fake()
          .onLaunch(
              (call, tactic) -> {
                throw new AssertionError("reached the back end");
              });
      InvalidArgumentException e =
          assertThrows(InvalidArgumentException.class, () -> wrong.call().with(f));
      assertEquals(wrong.argument(), e.argument(), e::getMessage);
      assertTrue(e.getMessage().contains("expected"), e::getMessage);
    }
  }

  @Test
  void biasIsRefusedByMethodsWithoutOne() throws Exception {
    MoeSpec spec = LayerFixture.spec().routing(RoutingSpec.of(RoutingMethod.RENORMALIZE)).build();
    try (LayerFixture f = new LayerFixture(spec)) {
      InvalidArgumentException e =
          assertThrows(InvalidArgumentException.class, () -> f.run(f.call(f.logits())));
      assertEquals("routing.bias", e.argument());
    }
  }

  @Test
  void fusedSharedExpertsWidenWhatIsPermuted() throws Exception {
    MoeSpec spec = LayerFixture.spec().numFusedSharedExperts(1).build();
    try (LayerFixture f = new LayerFixture(spec)) {
      f.run(withOutput(f, permuted(f, T * (K + 1), K + 1, T * (K + 1))));
      InvalidArgumentException e =
          assertThrows(
              InvalidArgumentException.class,
              () -> f.run(withOutput(f, permuted(f, T * K, K, T * K))));
      assertEquals("output.rows", e.argument());
    }
  }

  @Test
  void validCallsOfEveryKindAreLaunched() throws Exception {
    MoeSpec spec = LayerFixture.spec().activationFormat(QuantFormat.NVFP4).build();
    try (LayerFixture f = new LayerFixture(spec)) {
      f.run(f.call(f.logits()));
      f.run(f.call(new Routing.Packed(f.tensor(DType.I32, T, K))));
      f.run(f.call(new Routing.Unpacked(f.tensor(DType.I32, T, K), f.tensor(DType.BF16, T, K))));
      f.run(withOutput(f, permuted(f, T * K, K, T * K)));
      f.run(
          withOutput(
              f,
              new MoeOutput.Finalized(
                  f.tensor(DType.F32, T, H), Optional.of(f.tensor(DType.F32, T, H)))));
      f.run(
          MoeCall.of(
                  f.logits(),
                  HiddenStates.nvfp4(
                      f.tensor(DType.E2M1X2, T, H / 2), f.tensor(DType.E4M3, T, H / 16), 0.5f),
                  f.output())
              .withPerTokenScale(f.tensor(DType.F32, T))
              .withGemm1LoraDelta(f.tensor(DType.BF16, T, K, 2 * I))
              .withRoutingReplay(f.tensor(DType.I16, T, K))
              .withTopk(f.tensor(DType.I32, T, K), f.tensor(DType.F32, T, K))
              .withSkew(RoutingSkew.ZIPF));
      assertEquals(6, f.device.counters().launches());
      assertEquals(2, f.device.counters().routingLaunches());
    }
  }

  @Test
  void noTokensAreCheckedAndNothingIsLaunched() throws Exception {
    try (LayerFixture f = new LayerFixture()) {
      HiddenStates none = HiddenStates.bf16(f.tensor(DType.BF16, 0, H));
      Routing routing = new Routing.Unpacked(f.tensor(DType.I32, 0, K), f.tensor(DType.F32, 0, K));
      f.run(MoeCall.of(routing, none, new MoeOutput.Finalized(f.tensor(DType.BF16, 0, H))));
      assertEquals(0, f.device.counters().launches());
      InvalidArgumentException e =
          assertThrows(
              InvalidArgumentException.class, () -> f.run(MoeCall.of(routing, none, f.output())));
      assertEquals("output", e.argument());
    }
  }
}
