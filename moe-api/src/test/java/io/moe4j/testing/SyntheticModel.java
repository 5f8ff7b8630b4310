package io.moe4j.testing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;

/** Small random checkpoints in the layouts that the families publish, written from the facts. */
public final class SyntheticModel {
  public static final int H = 64;
  public static final int I = 32;
  public static final int E = 4;

  private final Random random;
  public final RawTensors tensors = new RawTensors();

  public SyntheticModel(long seed) {
    random = new Random(seed);
  }

  public byte[] bytes(int count) {
    byte[] bytes = new byte[count];
    random.nextBytes(bytes);
    return bytes;
  }

  /** Positive finite E4M3 codes. */
  public byte[] e4m3(int count) {
    byte[] bytes = new byte[count];
    for (int i = 0; i < count; i++) {
      bytes[i] = (byte) (0x20 + random.nextInt(0x40));
    }
    return bytes;
  }

  /** UE8M0 codes around 2^-6. */
  public byte[] e8m0(int count) {
    byte[] bytes = new byte[count];
    for (int i = 0; i < count; i++) {
      bytes[i] = (byte) (118 + random.nextInt(6));
    }
    return bytes;
  }

  public float[] floats(int count) {
    float[] floats = new float[count];
    for (int i = 0; i < count; i++) {
      floats[i] = (float) random.nextGaussian();
    }
    return floats;
  }

  /** A layer in transformers' names, biases BF16, router F32. */
  public SyntheticModel gptOss(int layer) {
    String mlp = "model.layers." + layer + ".mlp.";
    return gptOss(
        mlp + "experts.gate_up_proj_blocks",
        mlp + "experts.gate_up_proj_scales",
        mlp + "experts.gate_up_proj_bias",
        mlp + "experts.down_proj_blocks",
        mlp + "experts.down_proj_scales",
        mlp + "experts.down_proj_bias",
        mlp + "router.");
  }

  /** A layer in OpenAI's own names. */
  public SyntheticModel gptOssOpenAi(int layer) {
    String mlp = "block." + layer + ".mlp.";
    return gptOss(
        mlp + "mlp1_weight.blocks",
        mlp + "mlp1_weight.scales",
        mlp + "mlp1_bias",
        mlp + "mlp2_weight.blocks",
        mlp + "mlp2_weight.scales",
        mlp + "mlp2_bias",
        mlp + "gate.");
  }

  private SyntheticModel gptOss(
      String gateUp,
      String gateUpScales,
      String gateUpBias,
      String down,
      String downScales,
      String downBias,
      String router) {
    tensors
        .add(gateUp, "U8", bytes(E * 2 * I * H / 2), E, 2 * I, H / 32, 16)
        .add(gateUpScales, "U8", e8m0(E * 2 * I * H / 32), E, 2 * I, H / 32)
        .addBf16(gateUpBias, floats(E * 2 * I), E, 2 * I)
        .add(down, "U8", bytes(E * H * I / 2), E, H, I / 32, 16)
        .add(downScales, "U8", e8m0(E * H * I / 32), E, H, I / 32)
        .addF32(downBias, floats(E * H), E, H)
        .addF32(router + "weight", floats(E * H), E, H)
        .addF32(router + "bias", floats(E), E);
    return this;
  }

  public static final String GPT_OSS_CONFIG =
      """
      {"model_type": "gpt_oss", "hidden_size": 64, "intermediate_size": 32,
       "num_local_experts": 4, "num_experts_per_tok": 2, "swiglu_limit": 7.0, "hidden_act": "silu",
       "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}}
      """;

  public static final String QWEN3_CONFIG =
      """
      {"model_type": "qwen3_moe", "hidden_size": 64, "moe_intermediate_size": 32,
       "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": true}
      """;

  public static final String MIXTRAL_CONFIG =
      """
      {"model_type": "mixtral", "hidden_size": 64, "intermediate_size": 32, "hidden_act": "silu",
       "num_local_experts": 4, "num_experts_per_tok": 2, "router_jitter_noise": 0.0,
       "sliding_window": null,
       "quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4",
         "ignore": ["lm_head", "model.layers.*.block_sparse_moe.gate"]}}
      """;

  public static final String DEEPSEEK_CONFIG =
      """
      {"model_type": "deepseek_v3", "hidden_size": 64, "moe_intermediate_size": 32,
       "n_routed_experts": 4, "n_shared_experts": 2, "num_experts_per_tok": 2, "n_group": 2,
       "topk_group": 1, "routed_scaling_factor": 2.5, "norm_topk_prob": true,
       "first_k_dense_replace": 3, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
       "quantization_config": {"quant_method": "compressed-tensors",
         "format": "nvfp4-pack-quantized", "ignore": ["lm_head", "re:.*mlp.gate$"]}}
      """;

  /** A projection as ModelOpt writes it; the scalars as [] or [1]. */
  public SyntheticModel modelOpt(
      String prefix, int rows, int columns, float scale2, float inputScale, boolean rank0) {
    long[] scalar = rank0 ? new long[0] : new long[] {1};
    tensors
        .add(prefix + "weight", "U8", bytes(rows * columns / 2), rows, columns / 2)
        .add(prefix + "weight_scale", "F8_E4M3", e4m3(rows * columns / 16), rows, columns / 16)
        .addF32(prefix + "weight_scale_2", new float[] {scale2}, scalar)
        .addF32(prefix + "input_scale", new float[] {inputScale}, scalar);
    return this;
  }

  /** A projection as compressed-tensors writes it; the scales are divisors. */
  public SyntheticModel compressedTensors(
      String prefix, int rows, int columns, float globalScale, float inputGlobalScale) {
    tensors
        .add(prefix + "weight_packed", "U8", bytes(rows * columns / 2), rows, columns / 2)
        .add(prefix + "weight_scale", "F8_E4M3", e4m3(rows * columns / 16), rows, columns / 16)
        .addF32(prefix + "weight_global_scale", new float[] {globalScale}, 1)
        .addF32(prefix + "input_global_scale", new float[] {inputGlobalScale}, 1);
    return this;
  }

  /** A layer of Qwen3 in ModelOpt's NVFP4, with the scales that the two static methods tell. */
  public SyntheticModel qwen3(int layer) {
    return modelOpt("model.layers." + layer + ".mlp.", "gate_proj", "up_proj", "down_proj");
  }

  /** A layer of Mixtral, otherwise as {@link #qwen3}. */
  public SyntheticModel mixtral(int layer) {
    return modelOpt("model.layers." + layer + ".block_sparse_moe.", "w1", "w3", "w2");
  }

  private SyntheticModel modelOpt(String block, String gate, String up, String down) {
    for (int e = 0; e < E; e++) {
      String expert = block + "experts." + e + ".";
      modelOpt(expert + gate + ".", I, H, scale(e, 0), inputScale(e, 0), e % 2 == 0);
      modelOpt(expert + up + ".", I, H, scale(e, 1), inputScale(e, 1), e % 2 == 0);
      modelOpt(expert + down + ".", H, I, scale(e, 2), inputScale(e, 2), e % 2 == 0);
    }
    tensors.addBf16(block + "gate.weight", floats(E * H), E, H);
    return this;
  }

  /** A layer of DeepSeek-V3 in compressed-tensors' NVFP4 with BF16 shared experts. */
  public SyntheticModel deepSeek(int layer) {
    String mlp = "model.layers." + layer + ".mlp.";
    for (int e = 0; e < E; e++) {
      String expert = mlp + "experts." + e + ".";
      compressedTensors(expert + "gate_proj.", I, H, 1 / scale(e, 0), 1 / inputScale(e, 0));
      compressedTensors(expert + "up_proj.", I, H, 1 / scale(e, 1), 1 / inputScale(e, 1));
      compressedTensors(expert + "down_proj.", H, I, 1 / scale(e, 2), 1 / inputScale(e, 2));
    }
    tensors
        .addBf16(mlp + "shared_experts.gate_proj.weight", floats(2 * I * H), 2 * I, H)
        .addBf16(mlp + "shared_experts.up_proj.weight", floats(2 * I * H), 2 * I, H)
        .addBf16(mlp + "shared_experts.down_proj.weight", floats(2 * I * H), H, 2 * I)
        .addBf16(mlp + "gate.weight", floats(E * H), E, H)
        .addF32(mlp + "gate.e_score_correction_bias", floats(E), E);
    return this;
  }

  /** Tensor scale of gate (0), up (1) or down (2): powers of two, so that reciprocals are exact. */
  public static float scale(int expert, int projection) {
    return Math.scalb(1f, -10 - expert + 2 * projection);
  }

  /** Input scale; gate's and up's take turns in being the larger. */
  public static float inputScale(int expert, int projection) {
    return Math.scalb(1f, -6 + (expert % 2 == 0 ? projection : -projection));
  }

  /** One file and a configuration. */
  public Path write(Path folder, String config) throws IOException {
    tensors.write(folder.resolve("model.safetensors"));
    Files.writeString(folder.resolve("config.json"), config);
    return folder;
  }

  /** Three shards, an index and a configuration. */
  public Path writeSharded(Path folder, String config) throws IOException {
    tensors.writeSharded(folder, 3);
    Files.writeString(folder.resolve("config.json"), config);
    return folder;
  }
}
