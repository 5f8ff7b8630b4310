package io.moe4j.tests.badinput;

import static io.moe4j.tests.badinput.CallFixture.EXPERTS;
import static io.moe4j.tests.badinput.CallFixture.HIDDEN;
import static io.moe4j.tests.badinput.CallFixture.INTERMEDIATE;
import static io.moe4j.tests.badinput.CallFixture.TOKENS;
import static io.moe4j.tests.badinput.CallFixture.TOP_K;
import static io.moe4j.tests.badinput.CallFixture.specBuilder;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.moe4j.ClosedException;
import io.moe4j.DType;
import io.moe4j.Device;
import io.moe4j.DeviceCounters;
import io.moe4j.DeviceMemoryException;
import io.moe4j.DeviceOptions;
import io.moe4j.DeviceUnavailableException;
import io.moe4j.HiddenStates;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeCall;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeOutput;
import io.moe4j.OwnedTensor;
import io.moe4j.QuantFormat;
import io.moe4j.Router;
import io.moe4j.Routing;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;
import io.moe4j.Stream;
import io.moe4j.Tactic;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import io.moe4j.Workspace;
import io.moe4j.tests.badinput.WrongCall.ThrowingConsumer;
import io.moe4j.tests.fixtures.TestDevice;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every wrong use of devices, tensors, specs and calls that a user could make by mistake. */
class BadCallTest {
  private static CallFixture fixture;

  @BeforeAll
  static void open() {
    fixture = new CallFixture();
  }

  @AfterAll
  static void close() {
    fixture.close();
  }

  private static WrongCall<CallFixture> wrong(
      String what, String named, ThrowingConsumer<CallFixture> call) {
    return new WrongCall<>(what, InvalidArgumentException.class, named, call);
  }

  private static WrongCall<CallFixture> wrong(
      String what,
      Class<? extends Throwable> type,
      String named,
      ThrowingConsumer<CallFixture> call) {
    return new WrongCall<>(what, type, named, call);
  }

  static List<WrongCall<CallFixture>> devices() {
    return List.of(
        wrong("null device", "device", f -> MoeDevice.open(null)),
        wrong("null options", "options", f -> MoeDevice.open("cpu", null)),
        wrong("unknown device", "device", f -> MoeDevice.open("gpu")),
        wrong("negative ordinal", "index", f -> Device.cuda(-1)),
        wrong("negative threads", "threads", f -> new DeviceOptions(-1, "")),
        wrong(
            "unknown instruction set",
            "max_instruction_set",
            f ->
                MoeDevice.open("cpu", DeviceOptions.DEFAULT.withMaxInstructionSet("sse9")).close()),
        wrong(
            "absent GPU",
            DeviceUnavailableException.class,
            "cuda:99",
            f -> MoeDevice.open("cuda:99").close()),
        wrong("closing a device in use", ClosedException.class, "device", f -> f.device.close()),
        wrong(
            "allocating on a closed device",
            ClosedException.class,
            "device",
            f -> {
              MoeDevice closed = TestDevice.open();
              closed.close();
              closed.allocate(TensorSpec.of(DType.F32, 1));
            }));
  }

  static List<WrongCall<CallFixture>> tensors() {
    return List.of(
        wrong("negative extent", "shape", f -> TensorSpec.of(DType.F32, 2, -1)),
        wrong("2^63 bytes", "shape", f -> TensorSpec.of(DType.F32, 1L << 31, 1L << 31)),
        wrong(
            "more memory than there is",
            DeviceMemoryException.class,
            "bytes",
            f -> f.device.allocate(TensorSpec.of(DType.U8, 1L << 55)).close()),
        wrong("null spec", "spec", f -> f.device.allocate(null)),
        wrong("null address", "address", f -> f.device.borrow(TensorSpec.of(DType.F32, 4), 0L)),
        wrong(
            "unaligned address", "address", f -> f.device.borrow(TensorSpec.of(DType.F32, 4), 2L)),
        wrong("copy of another size", "source", f -> f.x.copyFrom(ByteBuffer.allocate(3))),
        wrong(
            "copy to a read-only buffer",
            "destination",
            f -> f.x.copyTo(ByteBuffer.allocate(TOKENS * HIDDEN * 2).asReadOnlyBuffer())),
        wrong(
            "reading a closed tensor",
            ClosedException.class,
            "tensor F32 [1]",
            f -> {
              OwnedTensor closed = f.device.allocate(TensorSpec.of(DType.F32, 1));
              closed.close();
              closed.copyTo(ByteBuffer.allocate(4));
            }));
  }

  static List<WrongCall<CallFixture>> specs() {
    return List.of(
        wrong("H not in blocks", "hiddenSize", f -> specBuilder().hiddenSize(100).build()),
        wrong(
            "I not in blocks", "intermediateSize", f -> specBuilder().intermediateSize(8).build()),
        wrong(
            "H not in the activation's blocks",
            "hiddenSize",
            f -> specBuilder().activationFormat(QuantFormat.MXFP8).hiddenSize(48).build()),
        wrong("no size", "hiddenSize", f -> specBuilder().hiddenSize(0).build()),
        wrong("no experts", "numExperts", f -> specBuilder().numExperts(0).build()),
        wrong("too many experts", "numExperts", f -> specBuilder().numExperts(1025).build()),
        wrong("k > E", "topK", f -> specBuilder().topK(EXPERTS + 1).build()),
        wrong("k > 32", "topK", f -> specBuilder().numExperts(64).topK(33).build()),
        wrong(
            "k > 1 for Llama 4",
            "topK",
            f -> specBuilder().routing(RoutingSpec.of(RoutingMethod.LLAMA4)).build()),
        wrong(
            "k > experts of the kept groups",
            "topK",
            f -> specBuilder().topK(3).routing(RoutingSpec.deepSeekV3(4, 1, 1f)).build()),
        wrong(
            "MXFP8 weights",
            "weightFormat",
            f -> specBuilder().weightFormat(QuantFormat.MXFP8).build()),
        wrong(
            "FP8_PER_TOKEN weights",
            "weightFormat",
            f -> specBuilder().weightFormat(QuantFormat.FP8_PER_TOKEN).build()),
        wrong(
            "MXFP4 activations",
            "activationFormat",
            f -> specBuilder().activationFormat(QuantFormat.MXFP4).build()),
        wrong(
            "groups that do not divide E",
            "numGroups",
            f -> specBuilder().routing(RoutingSpec.deepSeekV3(3, 1, 1f)).build()),
        wrong("more kept groups than groups", "topkGroups", f -> RoutingSpec.deepSeekV3(2, 3, 1f)),
        wrong("NaN factor", "scalingFactor", f -> RoutingSpec.deepSeekV3(1, 1, Float.NaN)),
        wrong(
            "groups of another method",
            "numGroups",
            f -> new RoutingSpec(RoutingMethod.SIGMOID, 2, 1, 1f, true)),
        wrong("slice beyond E", "expertParallel", f -> specBuilder().expertParallel(4, 5).build()),
        wrong("empty slice", "localNumExperts", f -> specBuilder().expertParallel(4, 0).build()),
        wrong(
            "shared experts without DeepSeekV3",
            "numFusedSharedExperts",
            f -> specBuilder().numFusedSharedExperts(1).build()),
        wrong("null activation", "activation", f -> specBuilder().activation(null).build()));
  }

  static List<WrongCall<CallFixture>> shapesAndTypes() {
    return List.of(
        wrong("null call", "call", f -> f.run((MoeCall) null)),
        wrong("null routing", "routing", f -> f.run((Routing) null)),
        wrong("null hidden states", "hiddenStates", f -> f.run((HiddenStates) null)),
        wrong("null tensor", "hiddenStates", f -> HiddenStates.bf16(null)),
        wrong("null ids", "ids", f -> new Routing.Unpacked(null, f.weights)),
        wrong("null logits", "logits", f -> new Routing.FromLogits(null)),
        wrong("null output", "output", f -> new MoeOutput.Finalized(null)),
        wrong("null workspace", "workspace", f -> f.layer.run(f.call(), null)),
        wrong(
            "F32 hidden states",
            "hiddenStates",
            f -> f.run(HiddenStates.bf16(f.zeros(DType.F32, TOKENS, HIDDEN)))),
        wrong(
            "transposed hidden states",
            "hiddenStates",
            f -> f.run(HiddenStates.bf16(f.zeros(DType.BF16, HIDDEN, TOKENS)))),
        wrong(
            "hidden states of one dimension",
            "hiddenStates",
            f -> f.run(HiddenStates.bf16(f.zeros(DType.BF16, TOKENS * HIDDEN)))),
        wrong(
            "quantized hidden states for a BF16 layer",
            "hiddenStates.format",
            f ->
                f.run(
                    HiddenStates.nvfp4(
                        f.zeros(DType.E2M1X2, TOKENS, HIDDEN / 2),
                        f.zeros(DType.E4M3, TOKENS, HIDDEN / 16),
                        1f))),
        wrong(
            "NaN tensor scale of hidden states",
            "hiddenStates.tensorScale",
            f -> HiddenStates.nvfp4(f.x, f.y, Float.NaN)),
        wrong(
            "hidden states without scales",
            "hiddenStates.scales",
            f -> new HiddenStates(QuantFormat.MXFP8, f.x, Optional.empty(), 1f)),
        wrong(
            "transposed logits",
            "routing.logits",
            f -> f.run(new Routing.FromLogits(f.zeros(DType.F32, EXPERTS, TOKENS)))),
        wrong(
            "I32 logits",
            "routing.logits",
            f -> f.run(new Routing.FromLogits(f.zeros(DType.I32, TOKENS, EXPERTS)))),
        wrong(
            "bias of a method without",
            "routing.bias",
            f -> f.run(new Routing.FromLogits(f.logits, Optional.of(f.zeros(DType.F32, EXPERTS))))),
        wrong(
            "F32 packed routing",
            "routing.packed",
            f -> f.run(new Routing.Packed(f.zeros(DType.F32, TOKENS, TOP_K)))),
        wrong(
            "one id too few",
            "routing.ids",
            f -> f.run(new Routing.Unpacked(f.zeros(DType.I32, TOKENS, TOP_K - 1), f.weights))),
        wrong(
            "weights of another shape",
            "routing.weights",
            f -> f.run(new Routing.Unpacked(f.ids, f.zeros(DType.F32, TOKENS, TOP_K + 1)))),
        wrong(
            "I32 output",
            "output",
            f -> f.run(new MoeOutput.Finalized(f.zeros(DType.I32, TOKENS, HIDDEN)))),
        wrong(
            "output of too few tokens",
            "output",
            f -> f.run(new MoeOutput.Finalized(f.zeros(DType.BF16, TOKENS - 1, HIDDEN)))),
        wrong(
            "BF16 addend",
            "addend",
            f ->
                f.run(
                    new MoeOutput.Finalized(
                        f.y, Optional.of(f.zeros(DType.BF16, TOKENS, HIDDEN))))),
        wrong(
            "permuted rows without room for every slot",
            "output.rows",
            f ->
                f.run(
                    new MoeOutput.Permuted(
                        f.zeros(DType.BF16, TOKENS, HIDDEN),
                        f.zeros(DType.F32, TOKENS, TOP_K),
                        f.zeros(DType.I32, TOKENS * TOP_K)))),
        wrong(
            "scale of one token too many",
            "perTokenScale",
            f -> f.run(f.call().withPerTokenScale(f.zeros(DType.F32, TOKENS + 1)))),
        wrong(
            "LoRA delta without up's half",
            "gemm1LoraDelta",
            f ->
                f.run(
                    f.call().withGemm1LoraDelta(f.zeros(DType.BF16, TOKENS, TOP_K, INTERMEDIATE)))),
        wrong(
            "I32 routing replay",
            "routingReplay",
            f -> f.run(f.call().withRoutingReplay(f.zeros(DType.I32, TOKENS, TOP_K)))),
        wrong(
            "BF16 top-k weights",
            "topkWeights",
            f ->
                f.run(
                    f.call()
                        .withTopk(
                            f.zeros(DType.I32, TOKENS, TOP_K),
                            f.zeros(DType.BF16, TOKENS, TOP_K)))),
        wrong(
            "router of another hidden size",
            "hiddenStates",
            f ->
                new Router(f.zeros(DType.BF16, EXPERTS, HIDDEN / 2), Optional.empty())
                    .logits(f.x, f.logits, Stream.DEFAULT)),
        wrong(
            "quantizer's codes of another shape",
            "codes",
            f ->
                f.device
                    .blockFormats()
                    .quantize(
                        QuantFormat.NVFP4,
                        f.x,
                        1f,
                        f.zeros(DType.E2M1X2, TOKENS, HIDDEN),
                        f.zeros(DType.E4M3, TOKENS, HIDDEN / 16),
                        Stream.DEFAULT)));
  }

  static List<WrongCall<CallFixture>> lifetimesAndPlaces() {
    return List.of(
        wrong("output over the input", "output", f -> f.run(new MoeOutput.Finalized(f.x))),
        wrong(
            "closed input",
            ClosedException.class,
            "hiddenStates",
            f -> {
              OwnedTensor closed = f.zeros(DType.BF16, TOKENS, HIDDEN);
              closed.close();
              f.run(HiddenStates.bf16(closed));
            }),
        wrong(
            "tensor of another device",
            "routing.weights",
            f -> {
              try (MoeDevice other = TestDevice.open();
                  OwnedTensor far = other.allocate(f.weights.spec())) {
                f.run(new Routing.Unpacked(f.ids, far));
              }
            }),
        wrong(
            "workspace of another device",
            "workspace",
            f -> {
              try (MoeDevice other = TestDevice.open();
                  MoeLayer layer = other.prepare(f.spec, f.numbers);
                  Workspace far = layer.newWorkspace(TOKENS)) {
                f.layer.run(f.call(), far);
              }
            }),
        wrong(
            "small workspace",
            "workspace",
            f -> {
              try (Workspace small = f.layer.newWorkspace(0)) {
                f.layer.run(f.call(), small);
              }
            }),
        wrong(
            "closed workspace",
            ClosedException.class,
            "workspace",
            f -> {
              Workspace closed = f.layer.newWorkspace(TOKENS);
              closed.close();
              f.layer.run(f.call(), closed);
            }),
        wrong(
            "closed layer",
            ClosedException.class,
            "layer",
            f -> {
              MoeLayer closed = f.device.prepare(f.spec, f.numbers);
              closed.close();
              closed.run(f.call(), f.workspace);
            }),
        wrong(
            "unknown tactic",
            "tactic",
            f -> f.layer.run(f.call(), new Tactic("cpu.none", 12345), f.workspace, Stream.DEFAULT)),
        wrong(
            "negative tactic",
            "tactic",
            f -> f.layer.run(f.call(), new Tactic("cpu.none", -1), f.workspace, Stream.DEFAULT)),
        wrong("negative tokens", "tokens", f -> f.layer.tactics(-1)),
        wrong("too many tokens", "maxTokens", f -> f.layer.newWorkspace(1L << 40)));
  }

  /**
   * What CUDA devices do not have, a tensor over a host buffer; cannot know, whose handle a stream
   * has; or do not wait for, contents: there, wrong ids contribute nothing.
   */
  static List<WrongCall<CallFixture>> onCpus() {
    return List.of(
        wrong(
            "heap buffer",
            "direct",
            f -> f.device.borrow(TensorSpec.of(DType.U8, 4), ByteBuffer.allocate(4))),
        wrong(
            "small buffer",
            "direct",
            f -> f.device.borrow(TensorSpec.of(DType.U8, 5), ByteBuffer.allocateDirect(4))),
        wrong("a stream", "stream", f -> f.layer.run(f.call(), f.workspace, () -> 0x1000L)),
        wrong("id E", "ids", f -> f.runIds(0, 1, 2, EXPERTS, 4, 5, 6, 7)),
        wrong("negative id", "ids", f -> f.runIds(0, 1, 2, 3, 4, 5, 6, -1)),
        wrong("an expert twice", "ids", f -> f.runIds(0, 1, 2, 3, 4, 4, 6, 7)),
        wrong(
            "packed id 32767", "packed", f -> f.runPacked(0, 1 << 16, 0, 0x7FFF << 16, 0, 1, 0, 1)),
        wrong("a packed expert twice", "packed", f -> f.runPacked(0, 0, 0, 0, 0, 0, 0, 0)),
        wrong("NaN logit", "logits", f -> f.runLogits(DType.F32, 11, Double.NaN)),
        wrong(
            "NaN in quantized input",
            "source",
            f -> {
              double[] values = new double[TOKENS * HIDDEN];
              values[100] = Double.NaN;
              Tensor source = f.of(DType.F32, values, TOKENS, HIDDEN);
              f.device
                  .blockFormats()
                  .quantize(
                      QuantFormat.NVFP4,
                      source,
                      1f,
                      f.zeros(DType.E2M1X2, TOKENS, HIDDEN / 2),
                      f.zeros(DType.E4M3, TOKENS, HIDDEN / 16),
                      Stream.DEFAULT);
            }));
  }

  @ParameterizedTest
  @MethodSource({"devices", "tensors", "specs", "shapesAndTypes", "lifetimesAndPlaces"})
  void isRefusedByName(WrongCall<CallFixture> wrong) {
    checkRefusal(wrong);
  }

  @ParameterizedTest
  @MethodSource("onCpus")
  void isRefusedByNameOnCpus(WrongCall<CallFixture> wrong) {
    assumeTrue(TestDevice.isCpu(fixture.device), "refused by CPU devices alone");
    checkRefusal(wrong);
  }

  private void checkRefusal(WrongCall<CallFixture> wrong) {
    Throwable thrown = assertThrows(Throwable.class, () -> wrong.call().accept(fixture));
    assertInstanceOf(wrong.type(), thrown, () -> "thrown: " + thrown);
    assertTrue(
        thrown.getMessage().contains(wrong.named()),
        () -> "\"" + wrong.named() + "\" is not named by: " + thrown.getMessage());
    if (thrown instanceof InvalidArgumentException e) {
      assertTrue(
          e.argument().contains(wrong.named()),
          () -> "argument " + e.argument() + " of: " + e.getMessage());
    }
  }

  /** After all of it the layer still works, and nothing that a wrong call made is left. */
  @Test
  void nothingIsLost() {
    try (CallFixture own = new CallFixture()) {
      DeviceCounters before = own.device.counters();
      List<WrongCall<CallFixture>> calls = new ArrayList<>(lifetimesAndPlaces());
      if (TestDevice.isCpu(own.device)) {
        calls.addAll(onCpus());
      }
      for (WrongCall<CallFixture> wrong : calls) {
        assertThrows(Throwable.class, () -> wrong.call().accept(own));
      }
      own.run(own.call());
      own.closeMade();
      DeviceCounters after = own.device.counters();
      assertEquals(before.liveBytes(), after.liveBytes());
      assertEquals(before.liveLayers(), after.liveLayers());
      assertEquals(before.liveAllocations(), after.liveAllocations());
    }
  }
}
