package io.moe4j.cli;

import com.google.common.primitives.ImmutableLongArray;
import io.moe4j.DType;
import io.moe4j.MoeSpec;
import io.moe4j.TensorSpec;
import io.moe4j.checkpoint.CheckpointException;
import io.moe4j.checkpoint.SafetensorsDType;
import io.moe4j.checkpoint.SafetensorsFile;
import io.moe4j.checkpoint.StoredTensor;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * What a block is run on: the tensors of a safetensors file, checked against the block.
 *
 * @param hiddenStates BF16 [T, H]
 * @param routerInput what the checkpoint's router sees: F32 where the file has it, because rounding
 *     would turn close choices
 * @param routing logits or precomputed routing; empty for the checkpoint's router
 */
record BlockInput(HostTensor hiddenStates, HostTensor routerInput, Optional<InputRouting> routing) {
  static final String HIDDEN_STATES = "hidden_states";
  static final String ROUTER_LOGITS = "router_logits";
  static final String TOPK_IDS = "topk_ids";
  static final String TOPK_WEIGHTS = "topk_weights";

  /** Routing that comes with the input. */
  sealed interface InputRouting {}

  /**
   * The router's projection.
   *
   * @param logits F32 or BF16 [T, E]
   */
  record Logits(HostTensor logits) implements InputRouting {}

  /**
   * The experts of each token.
   *
   * @param ids I32 [T, k], each an expert, none twice in a row
   * @param weights F32 or BF16 [T, k]
   */
  record Precomputed(HostTensor ids, HostTensor weights) implements InputRouting {}

  /** T. */
  long tokens() {
    return hiddenStates.spec().dim(0);
  }

  /** What the experts are chosen by, in words. */
  String routingSource() {
    if (routing.isEmpty()) {
      return "the checkpoint's router";
    }
    return routing.get() instanceof Logits
        ? ROUTER_LOGITS + " of the input"
        : TOPK_IDS + " of the input";
  }

  /**
   * Reads {@code hidden_states} (F32 is rounded to BF16 for the experts) and, where the file has
   * them, {@code router_logits} or {@code topk_ids} (I32 or I64) with {@code topk_weights}. Other
   * tensors are ignored.
   *
   * @throws CheckpointException when a tensor does not fit the block
   */
  static BlockInput read(Path path, MoeSpec block) {
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      StoredTensor stored = file.tensor(HIDDEN_STATES);
      long tokens = stored.shape().isEmpty() ? 0 : stored.shape().get(0);
      HostTensor given = floats(stored, tokens, block.hiddenSize());
      HostTensor hiddenStates = given.spec().dtype() == DType.F32 ? given.toBf16() : given;
      return new BlockInput(hiddenStates, given, routing(file, tokens, block));
    }
  }

  private static Optional<InputRouting> routing(SafetensorsFile file, long tokens, MoeSpec block) {
    boolean precomputed = file.find(TOPK_IDS).isPresent() || file.find(TOPK_WEIGHTS).isPresent();
    Optional<StoredTensor> logits = file.find(ROUTER_LOGITS);
    if (precomputed && logits.isPresent()) {
      throw problem(logits.get(), "found beside " + TOPK_IDS + ", expected one of the two");
    }
    if (precomputed) {
      HostTensor ids = ids(file.tensor(TOPK_IDS), tokens, block);
      return Optional.of(
          new Precomputed(ids, floats(file.tensor(TOPK_WEIGHTS), tokens, block.topK())));
    }
    return logits.map(tensor -> new Logits(floats(tensor, tokens, block.numExperts())));
  }

  private static HostTensor floats(StoredTensor stored, long rows, long columns) {
    checkType(stored, rows, columns, SafetensorsDType.F32, SafetensorsDType.BF16);
    return new HostTensor(stored.spec(), stored.buffer());
  }

  private static HostTensor ids(StoredTensor stored, long tokens, MoeSpec block) {
    checkType(stored, tokens, block.topK(), SafetensorsDType.I32, SafetensorsDType.I64);
    boolean wide = stored.dtype() == SafetensorsDType.I64;
    HostTensor ids = HostTensor.zeros(TensorSpec.of(DType.I32, tokens, block.topK()));
    var source = stored.buffer();
    boolean[] chosen = new boolean[block.numExperts()];
    for (int t = 0; t < tokens; t++) {
      Arrays.fill(chosen, false);
      for (int slot = 0; slot < block.topK(); slot++) {
        int index = t * block.topK() + slot;
        long id = wide ? source.getLong(8 * index) : source.getInt(4 * index);
        if (id < 0 || id >= block.numExperts()) {
          throw problem(
              stored,
              "found %d at [%d, %d], expected 0 <= id < %d"
                  .formatted(id, t, slot, block.numExperts()));
        }
        if (chosen[(int) id]) {
          throw problem(
              stored,
              "found %d at [%d, %d] for the second time, expected each expert once a token"
                  .formatted(id, t, slot));
        }
        chosen[(int) id] = true;
        ids.bytes().putInt(4 * index, (int) id);
      }
    }
    return ids;
  }

  private static void checkType(
      StoredTensor stored, long rows, long columns, SafetensorsDType... dtypes) {
    ImmutableLongArray shape = ImmutableLongArray.of(rows, columns);
    List<SafetensorsDType> valid = List.of(dtypes);
    if (!valid.contains(stored.dtype()) || !stored.shape().equals(shape)) {
      String types = valid.get(0) + " or " + valid.get(1);
      String expected =
          stored.name().equals(HIDDEN_STATES) ? "[tokens, " + columns + "]" : shape.toString();
      throw problem(
          stored,
          "found "
              + stored.dtype()
              + " "
              + stored.shape()
              + ", expected "
              + types
              + " "
              + expected);
    }
  }

  private static CheckpointException problem(StoredTensor stored, String problem) {
    return CheckpointException.ofTensor(stored.path(), stored.name(), problem);
  }
}
