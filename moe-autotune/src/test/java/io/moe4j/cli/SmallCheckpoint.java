package io.moe4j.cli;

import io.moe4j.checkpoint.SafetensorsDType;
import io.moe4j.checkpoint.SafetensorsWriter;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A gpt-oss checkpoint whose layer 1 has experts: H = 64, I = 32, 4 experts, top 2. */
final class SmallCheckpoint {
  static final int HIDDEN_SIZE = 64;
  static final int INTERMEDIATE_SIZE = 32;
  static final int NUM_EXPERTS = 4;
  static final int TOP_K = 2;
  static final int LAYER = 1;

  private static final String PREFIX = "model.layers.1.mlp.";

  private SmallCheckpoint() {}

  private record Entry(String name, SafetensorsDType dtype, int fill, long... shape) {
    long bytes() {
      long bytes = dtype.bits() / 8;
      for (long extent : shape) {
        bytes *= extent;
      }
      return bytes;
    }
  }

  /** Writes it; every code is 1, every block scale the given one. */
  static Path write(Path folder, int blockScale) throws IOException {
    Files.createDirectories(folder);
    Files.writeString(
        folder.resolve("config.json"),
        """
        {"model_type": "gpt_oss", "hidden_size": 64, "intermediate_size": 32,
         "num_local_experts": 4, "num_experts_per_tok": 2, "swiglu_limit": 7.0,
         "quantization_config": {"quant_method": "mxfp4"}}
        """);
    List<Entry> entries = new ArrayList<>();
    entries.add(u8("experts.gate_up_proj_blocks", 0x22, NUM_EXPERTS, 64, 2, 16));
    entries.add(u8("experts.gate_up_proj_scales", blockScale, NUM_EXPERTS, 64, 2));
    entries.add(bf16("experts.gate_up_proj_bias", NUM_EXPERTS, 64));
    entries.add(u8("experts.down_proj_blocks", 0x22, NUM_EXPERTS, 64, 1, 16));
    entries.add(u8("experts.down_proj_scales", blockScale, NUM_EXPERTS, 64, 1));
    entries.add(bf16("experts.down_proj_bias", NUM_EXPERTS, 64));
    entries.add(bf16("router.weight", NUM_EXPERTS, HIDDEN_SIZE));
    entries.add(bf16("router.bias", NUM_EXPERTS));
    SafetensorsWriter.Builder file = SafetensorsWriter.to(folder.resolve("model.safetensors"));
    entries.forEach(e -> file.tensor(PREFIX + e.name(), e.dtype(), e.shape()));
    try (SafetensorsWriter writer = file.open()) {
      for (Entry entry : entries) {
        byte[] bytes = new byte[(int) entry.bytes()];
        java.util.Arrays.fill(bytes, (byte) entry.fill());
        writer.write(PREFIX + entry.name(), ByteBuffer.wrap(bytes));
      }
      writer.commit();
    }
    return folder;
  }

  private static Entry u8(String name, int fill, long... shape) {
    return new Entry(name, SafetensorsDType.U8, fill, shape);
  }

  private static Entry bf16(String name, long... shape) {
    return new Entry(name, SafetensorsDType.BF16, 0, shape);
  }
}
