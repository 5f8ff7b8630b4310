package io.moe4j.cli;

import io.moe4j.DType;
import io.moe4j.QuantFormat;
import io.moe4j.TensorSpec;
import io.moe4j.checkpoint.SafetensorsDType;
import io.moe4j.checkpoint.SafetensorsWriter;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;

/**
 * A checkpoint of one layer with random weights, of the size of gpt-oss-20b's and laid out as that
 * model's is on disk. Weights are small enough for activations around 1, where SwiGLU bends.
 */
final class DemoCheckpoint {
  static final int HIDDEN_SIZE = 2880;
  static final int INTERMEDIATE_SIZE = 2880;
  static final int NUM_EXPERTS = 32;
  static final int TOP_K = 4;
  static final double SWIGLU_LIMIT = 7;

  static final String EXPERTS = "model.layers.0.mlp.experts.";
  static final String ROUTER = "model.layers.0.mlp.router.";

  private static final int BLOCK = 32;
  private static final int BLOCK_BYTES = 16;
  private static final int CHUNK = 1 << 22;

  /** Block scales of 2^-9 to 2^-6, as powers biased by 127. */
  private static final int SMALLEST_SCALE = 127 - 9;

  private static final int NUM_SCALES = 4;

  private static final String CONFIG =
      """
      {
        "model_type": "gpt_oss",
        "hidden_size": %d,
        "intermediate_size": %d,
        "num_local_experts": %d,
        "num_experts_per_tok": %d,
        "swiglu_limit": %s,
        "hidden_act": "silu",
        "quantization_config": {"quant_method": "mxfp4"}
      }
      """
          .formatted(HIDDEN_SIZE, INTERMEDIATE_SIZE, NUM_EXPERTS, TOP_K, SWIGLU_LIMIT);

  private DemoCheckpoint() {}

  /** Fills one tensor's bytes. */
  private interface Fill {
    void next(ByteBuffer piece);
  }

  /** Size of one expert's codes and block scales. */
  static long expertBytes() {
    return QuantFormat.MXFP4.bytes(2L * INTERMEDIATE_SIZE, HIDDEN_SIZE)
        + QuantFormat.MXFP4.bytes(HIDDEN_SIZE, INTERMEDIATE_SIZE);
  }

  /**
   * Writes the checkpoint into a folder; the same seed gives the same bytes.
   *
   * @return size of the file with the tensors
   */
  static long write(Path folder, long seed) throws IOException {
    Files.writeString(folder.resolve("config.json"), CONFIG);
    int gateUpRows = 2 * INTERMEDIATE_SIZE;
    RandomGenerator random = new SplittableRandom(seed);
    Path file = folder.resolve("model.safetensors");
    try (SafetensorsWriter writer =
        SafetensorsWriter.to(file)
            .tensor(
                EXPERTS + "gate_up_proj_blocks",
                SafetensorsDType.U8,
                NUM_EXPERTS,
                gateUpRows,
                HIDDEN_SIZE / BLOCK,
                BLOCK_BYTES)
            .tensor(
                EXPERTS + "gate_up_proj_scales",
                SafetensorsDType.U8,
                NUM_EXPERTS,
                gateUpRows,
                HIDDEN_SIZE / BLOCK)
            .tensor(EXPERTS + "gate_up_proj_bias", SafetensorsDType.BF16, NUM_EXPERTS, gateUpRows)
            .tensor(
                EXPERTS + "down_proj_blocks",
                SafetensorsDType.U8,
                NUM_EXPERTS,
                HIDDEN_SIZE,
                INTERMEDIATE_SIZE / BLOCK,
                BLOCK_BYTES)
            .tensor(
                EXPERTS + "down_proj_scales",
                SafetensorsDType.U8,
                NUM_EXPERTS,
                HIDDEN_SIZE,
                INTERMEDIATE_SIZE / BLOCK)
            .tensor(EXPERTS + "down_proj_bias", SafetensorsDType.BF16, NUM_EXPERTS, HIDDEN_SIZE)
            .tensor(ROUTER + "weight", SafetensorsDType.BF16, NUM_EXPERTS, HIDDEN_SIZE)
            .tensor(ROUTER + "bias", SafetensorsDType.BF16, NUM_EXPERTS)
            .open()) {
      long gateUp = (long) NUM_EXPERTS * gateUpRows;
      long down = (long) NUM_EXPERTS * HIDDEN_SIZE;
      write(writer, EXPERTS + "gate_up_proj_blocks", gateUp * HIDDEN_SIZE / 2, codes(random));
      write(writer, EXPERTS + "gate_up_proj_scales", gateUp * HIDDEN_SIZE / BLOCK, scales(random));
      write(writer, EXPERTS + "gate_up_proj_bias", 2 * gateUp, gaussians(random, 0.25));
      write(writer, EXPERTS + "down_proj_blocks", down * INTERMEDIATE_SIZE / 2, codes(random));
      write(writer, EXPERTS + "down_proj_scales", down * INTERMEDIATE_SIZE / BLOCK, scales(random));
      write(writer, EXPERTS + "down_proj_bias", 2 * down, gaussians(random, 0.25));
      write(
          writer,
          ROUTER + "weight",
          2L * NUM_EXPERTS * HIDDEN_SIZE,
          gaussians(random, 1 / Math.sqrt(HIDDEN_SIZE)));
      write(writer, ROUTER + "bias", 2L * NUM_EXPERTS, gaussians(random, 0.25));
      writer.commit();
    }
    return Files.size(file);
  }

  private static void write(SafetensorsWriter writer, String name, long bytes, Fill fill) {
    ByteBuffer chunk = ByteBuffer.allocate(CHUNK).order(ByteOrder.LITTLE_ENDIAN);
    for (long done = 0; done < bytes; done += chunk.limit()) {
      chunk.clear().limit((int) Math.min(CHUNK, bytes - done));
      fill.next(chunk);
      writer.write(name, chunk.rewind());
    }
  }

  /** Every byte is a pair of valid E2M1 codes. */
  private static Fill codes(RandomGenerator random) {
    return piece -> {
      while (piece.remaining() >= Long.BYTES) {
        piece.putLong(random.nextLong());
      }
      while (piece.hasRemaining()) {
        piece.put((byte) random.nextInt());
      }
    };
  }

  private static Fill scales(RandomGenerator random) {
    return piece -> {
      while (piece.hasRemaining()) {
        piece.put((byte) (SMALLEST_SCALE + random.nextInt(NUM_SCALES)));
      }
    };
  }

  private static Fill gaussians(RandomGenerator random, double deviation) {
    return piece -> {
      while (piece.hasRemaining()) {
        piece.putShort(Bf16.fromFloat((float) (deviation * random.nextGaussian())));
      }
    };
  }

  /** Hidden states BF16 [tokens, H] of about unit variance. */
  static HostTensor hiddenStates(int tokens, long seed) {
    HostTensor states = HostTensor.zeros(TensorSpec.of(DType.BF16, tokens, HIDDEN_SIZE));
    gaussians(new SplittableRandom(seed), 1).next(states.view());
    return states;
  }
}
