package io.moe4j.cli;

import static io.moe4j.checkpoint.SafetensorsDType.BF16;
import static io.moe4j.checkpoint.SafetensorsDType.F32;
import static io.moe4j.checkpoint.SafetensorsDType.F64;
import static io.moe4j.checkpoint.SafetensorsDType.I32;
import static io.moe4j.checkpoint.SafetensorsDType.I64;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.DType;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.TensorSpec;
import io.moe4j.checkpoint.CheckpointException;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files that a run may or may not start from. */
class BlockInputTest {
  private static final MoeSpec BLOCK =
      MoeSpec.builder()
          .weightFormat(QuantFormat.MXFP4)
          .hiddenSize(32)
          .intermediateSize(32)
          .numExperts(4)
          .topK(2)
          .build();

  @TempDir Path folder;

  private BlockInput read(TensorFile file) {
    return BlockInput.read(file.write(folder.resolve("in.safetensors")), BLOCK);
  }

  private void assertRefused(String sentence, TensorFile file) {
    CheckpointException e = assertThrows(CheckpointException.class, () -> read(file));
    assertEquals(folder.resolve("in.safetensors") + ": " + sentence, e.getMessage());
  }

  private static TensorFile hidden(long tokens) {
    return new TensorFile().add("hidden_states", BF16, tokens, 32, 1, 2, 3);
  }

  @Test
  void takesBf16AsItIs() {
    BlockInput input = read(hidden(3));
    assertEquals(3, input.tokens());
    assertEquals(TensorSpec.of(DType.BF16, 3, 32), input.hiddenStates().spec());
    assertEquals(2f, input.hiddenStates().floatAt(1));
    assertEquals(Optional.empty(), input.routing());
    assertEquals("the checkpoint's router", input.routingSource());
  }

  @Test
  void roundsF32ToTheNearestBf16AndTiesToEven() {
    double ulp = 1.0 / 128;
    BlockInput input =
        read(
            new TensorFile()
                .add(
                    "hidden_states",
                    F32,
                    1,
                    32,
                    1 + 0.5 * ulp,
                    1 + 1.5 * ulp,
                    1 + 0.51 * ulp,
                    -(1 + 0.49 * ulp),
                    Double.NaN,
                    Double.POSITIVE_INFINITY,
                    Float.MAX_VALUE,
                    -0.0));
    HostTensor states = input.hiddenStates();
    assertEquals(DType.BF16, states.spec().dtype());
    assertEquals(1f, states.floatAt(0));
    assertEquals((float) (1 + 2 * ulp), states.floatAt(1));
    assertEquals((float) (1 + ulp), states.floatAt(2));
    assertEquals(-1f, states.floatAt(3));
    assertTrue(Float.isNaN(states.floatAt(4)));
    assertEquals(Float.POSITIVE_INFINITY, states.floatAt(5));
    assertEquals(Float.POSITIVE_INFINITY, states.floatAt(6));
    assertEquals(-0f, states.floatAt(7));
    assertEquals(DType.F32, input.routerInput().spec().dtype());
    assertEquals((float) (1 + 0.51 * ulp), input.routerInput().floatAt(2));
  }

  @Test
  void takesNoTokens() {
    BlockInput input =
        read(hidden(0).add("topk_ids", I32, 0, 2, 0).add("topk_weights", F32, 0, 2, 0));
    assertEquals(0, input.tokens());
    assertInstanceOf(BlockInput.Precomputed.class, input.routing().get());
  }

  @Test
  void takesLogits() {
    BlockInput input = read(hidden(2).add("router_logits", BF16, 2, 4, 1, 2));
    HostTensor logits = ((BlockInput.Logits) input.routing().get()).logits();
    assertEquals(TensorSpec.of(DType.BF16, 2, 4), logits.spec());
    assertEquals(2f, logits.floatAt(7));
  }

  @Test
  void takesIdsOf32And64Bits() {
    for (var dtype : new io.moe4j.checkpoint.SafetensorsDType[] {I32, I64}) {
      BlockInput input =
          read(
              hidden(2)
                  .add("topk_ids", dtype, 2, 2, 3, 0, 1, 2)
                  .add("topk_weights", F32, 2, 2, 0.25, 0.75));
      var routing = (BlockInput.Precomputed) input.routing().get();
      assertEquals(TensorSpec.of(DType.I32, 2, 2), routing.ids().spec());
      assertEquals(3, routing.ids().intAt(0));
      assertEquals(2, routing.ids().intAt(3));
      assertEquals(0.75f, routing.weights().floatAt(1));
    }
  }

  @Test
  void refusesMissingTensors() {
    assertRefused(
        "tensor \"hidden_states\": not in this file", new TensorFile().add("x", F32, 1, 1, 0));
    assertRefused(
        "tensor \"topk_weights\": not in this file", hidden(1).add("topk_ids", I32, 1, 2, 0, 1));
    assertRefused(
        "tensor \"topk_ids\": not in this file", hidden(1).add("topk_weights", F32, 1, 2, 0, 1));
  }

  @Test
  void refusesOtherShapesAndTypes() {
    assertRefused(
        "tensor \"hidden_states\": found F32 [2, 33], expected F32 or BF16 [tokens, 32]",
        new TensorFile().add("hidden_states", F32, 2, 33, 0));
    assertRefused(
        "tensor \"hidden_states\": found F64 [2, 32], expected F32 or BF16 [tokens, 32]",
        new TensorFile().add("hidden_states", F64, 2, 32, 0));
    assertRefused(
        "tensor \"router_logits\": found F32 [1, 4], expected F32 or BF16 [2, 4]",
        hidden(2).add("router_logits", F32, 1, 4, 0));
    assertRefused(
        "tensor \"topk_ids\": found F32 [2, 2], expected I32 or I64 [2, 2]",
        hidden(2).add("topk_ids", F32, 2, 2, 0).add("topk_weights", F32, 2, 2, 0));
    assertRefused(
        "tensor \"topk_weights\": found F32 [2, 3], expected F32 or BF16 [2, 2]",
        hidden(2).add("topk_ids", I32, 2, 2, 0, 1).add("topk_weights", F32, 2, 3, 0));
  }

  @Test
  void refusesExpertsThatAreNotThere() {
    assertRefused(
        "tensor \"topk_ids\": found 4 at [1, 0], expected 0 <= id < 4",
        hidden(2).add("topk_ids", I32, 2, 2, 0, 1, 4, 1).add("topk_weights", F32, 2, 2, 1));
    assertRefused(
        "tensor \"topk_ids\": found -1 at [0, 1], expected 0 <= id < 4",
        hidden(1).add("topk_ids", I32, 1, 2, 0, -1).add("topk_weights", F32, 1, 2, 1));
    assertRefused(
        "tensor \"topk_ids\": found 4294967296 at [0, 0], expected 0 <= id < 4",
        hidden(1).add("topk_ids", I64, 1, 2, 4294967296.0, 1).add("topk_weights", F32, 1, 2, 1));
  }

  @Test
  void refusesAnExpertThatATokenHasTwice() {
    assertRefused(
        "tensor \"topk_ids\": found 3 at [1, 1] for the second time, expected each expert once a"
            + " token",
        hidden(2).add("topk_ids", I32, 2, 2, 3, 1, 3, 3).add("topk_weights", F32, 2, 2, 1));
  }

  @Test
  void refusesTwoRoutings() {
    assertRefused(
        "tensor \"router_logits\": found beside topk_ids, expected one of the two",
        hidden(1)
            .add("router_logits", F32, 1, 4, 0)
            .add("topk_ids", I32, 1, 2, 0, 1)
            .add("topk_weights", F32, 1, 2, 1));
  }
}
