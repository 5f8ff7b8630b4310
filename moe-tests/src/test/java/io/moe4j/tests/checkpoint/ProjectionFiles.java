package io.moe4j.tests.checkpoint;

import io.moe4j.DType;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;
import io.moe4j.tests.fixtures.Bytes;
import io.moe4j.tests.fixtures.TestExpert;
import io.moe4j.tests.oracle.BlockMatrix;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Qwen3 MoE, Mixtral and DeepSeek-V3, in NVFP4 or BF16: tensors for each projection of each expert.
 * The routing method tells the family.
 */
final class ProjectionFiles {
  /** The layer that is written. */
  static final int LAYER = 3;

  /** Who quantized the checkpoint. */
  enum Quantizer {
    /** NVIDIA's Model Optimizer: tensor scales multiply. */
    MODELOPT,
    /** Declared in hf_quant_config.json instead of config.json. */
    MODELOPT_OWN_FILE,
    /** compressed-tensors: tensor scales divide. */
    COMPRESSED_TENSORS
  }

  private final TestBlock block;
  private final Quantizer quantizer;
  private final String prefix;
  private final SafetensorsBuilder tensors = new SafetensorsBuilder();

  private ProjectionFiles(TestBlock block, Quantizer quantizer) {
    this.block = block;
    this.quantizer = quantizer;
    this.prefix = "model.layers." + LAYER + (isMixtral(block) ? ".block_sparse_moe." : ".mlp.");
    build();
  }

  /** Writes a checkpoint of two shards. */
  static void write(Path folder, TestBlock block, Quantizer quantizer) throws IOException {
    new ProjectionFiles(block, quantizer).tensors.writeSharded(folder, 2);
    writeConfig(folder, block, quantizer);
  }

  /** The tensors of {@link #write}. */
  static SafetensorsBuilder tensors(TestBlock block, Quantizer quantizer) {
    return new ProjectionFiles(block, quantizer).tensors;
  }

  /** The configuration of {@link #write}. */
  static void writeConfig(Path folder, TestBlock block, Quantizer quantizer) throws IOException {
    if (quantizer == Quantizer.MODELOPT_OWN_FILE) {
      Files.writeString(
          folder.resolve("hf_quant_config.json"),
          """
          {"producer": {"name": "modelopt", "version": "0.33.0"},
           "quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16,
             "exclude_modules": ["lm_head", "model.layers.*.mlp.gate"]}}
          """);
    }
    Files.writeString(
        folder.resolve("config.json"),
        "{%s,\n \"hidden_act\": \"silu\", \"hidden_size\": %d, \"num_hidden_layers\": 5%s}\n"
            .formatted(family(block), block.spec().hiddenSize(), quantization(quantizer)));
  }

  private static boolean isMixtral(TestBlock block) {
    return block.spec().routing().method() == RoutingMethod.RENORMALIZE;
  }

  private static String family(TestBlock block) {
    return switch (block.spec().routing().method()) {
      case RENORMALIZE -> mixtral(block.spec());
      case DEEPSEEK_V3 -> deepSeekV3(block);
      default -> qwen3(block.spec());
    };
  }

  private static String mixtral(MoeSpec spec) {
    return """
    "architectures": ["MixtralForCausalLM"], "model_type": "mixtral",
     "intermediate_size": %d, "num_local_experts": %d, "num_experts_per_tok": %d,
     "output_router_logits": false, "router_aux_loss_coef": 0.02, "sliding_window": null"""
        .formatted(spec.intermediateSize(), spec.numExperts(), spec.topK());
  }

  private static String qwen3(MoeSpec spec) {
    return """
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
     "moe_intermediate_size": %d, "num_experts": %d, "num_experts_per_tok": %d,
     "norm_topk_prob": %b, "decoder_sparse_step": 1, "mlp_only_layers": []"""
        .formatted(
            spec.intermediateSize(), spec.numExperts(), spec.topK(), spec.routing().normTopkProb());
  }

  private static String deepSeekV3(TestBlock block) {
    MoeSpec spec = block.spec();
    RoutingSpec routing = spec.routing();
    int shared = block.shared() == null ? 0 : block.shared().gate().rows();
    return """
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
     "moe_intermediate_size": %d, "n_routed_experts": %d, "n_shared_experts": %d,
     "num_experts_per_tok": %d, "n_group": %d, "topk_group": %d, "routed_scaling_factor": %s,
     "norm_topk_prob": true, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
     "first_k_dense_replace": 3, "moe_layer_freq": 1"""
        .formatted(
            spec.intermediateSize(),
            spec.numExperts(),
            shared / spec.intermediateSize(),
            spec.topK(),
            routing.numGroups(),
            routing.topkGroups(),
            routing.scalingFactor());
  }

  private static String quantization(Quantizer quantizer) {
    return switch (quantizer) {
      case MODELOPT ->
          """
          ,
           "quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4",
             "ignore": ["lm_head"]}""";
      case MODELOPT_OWN_FILE -> "";
      case COMPRESSED_TENSORS ->
          """
          ,
           "quantization_config": {"quant_method": "compressed-tensors",
             "format": "nvfp4-pack-quantized", "quantization_status": "compressed",
             "config_groups": {"group_0": {"targets": ["Linear"],
               "weights": {"num_bits": 4, "type": "float", "group_size": 16}}},
             "ignore": ["lm_head"]}""";
    };
  }

  private void build() {
    MoeSpec spec = block.spec();
    tensors.add("lm_head.weight", "BF16", new byte[16], 2, 4);
    tensors.add(
        prefix + "gate.weight",
        "BF16",
        Bytes.of(DType.BF16, block.router()),
        spec.numExperts(),
        spec.hiddenSize());
    if (block.selectionBias() != null) {
      tensors.add(
          prefix + "gate.e_score_correction_bias",
          "F32",
          Bytes.of(DType.F32, block.selectionBias()),
          spec.numExperts());
    }
    for (int expert = 0; expert < block.experts().size(); expert++) {
      add(prefix + "experts." + expert + ".", block.experts().get(expert), expert % 2 == 0);
    }
    if (block.shared() != null) {
      add(prefix + "shared_experts.", block.shared(), false);
    }
  }

  /**
   * Adds an expert. One of gate and up carries the expert's input scale, the other a smaller one.
   */
  private void add(String name, TestExpert expert, boolean gateHasLarger) {
    float larger = expert.inputScale();
    float smaller = larger * 0.7f;
    boolean mixtral = isMixtral(block);
    add(name + (mixtral ? "w1." : "gate_proj."), expert.gate(), gateHasLarger ? larger : smaller);
    add(name + (mixtral ? "w3." : "up_proj."), expert.up(), gateHasLarger ? smaller : larger);
    add(name + (mixtral ? "w2." : "down_proj."), expert.down(), expert.intermediateScale());
  }

  private void add(String name, BlockMatrix matrix, float inputScale) {
    int rows = matrix.rows();
    int columns = matrix.columns();
    if (matrix.format() == QuantFormat.BF16) {
      tensors.add(name + "weight", "BF16", matrix.codes(), rows, columns);
      return;
    }
    boolean divisors = quantizer == Quantizer.COMPRESSED_TENSORS;
    tensors.add(
        name + (divisors ? "weight_packed" : "weight"), "U8", matrix.codes(), rows, columns / 2);
    tensors.add(name + "weight_scale", "F8_E4M3", matrix.scales(), rows, columns / 16);
    if (divisors) {
      // compressed-tensors ships vectors of one element.
      scalar(name + "weight_global_scale", 1 / (double) matrix.tensorScale(), 1);
      scalar(name + "input_global_scale", 1 / (double) inputScale, 1);
    } else {
      scalar(name + "weight_scale_2", matrix.tensorScale());
      scalar(name + "input_scale", inputScale);
    }
  }

  private void scalar(String name, double value, long... shape) {
    tensors.add(name, "F32", Bytes.of(DType.F32, value), shape);
  }
}
