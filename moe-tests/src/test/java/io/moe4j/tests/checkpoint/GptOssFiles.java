package io.moe4j.tests.checkpoint;

import io.moe4j.DType;
import io.moe4j.tests.fixtures.Bytes;
import io.moe4j.tests.fixtures.TestExpert;
import io.moe4j.tests.oracle.BlockMatrix;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.function.Function;

/** gpt-oss in MXFP4: all experts of a layer in one tensor, gate and up rows alternating. */
final class GptOssFiles {
  /** The layer that is written; layer 0 has none. */
  static final int LAYER = 1;

  private final TestBlock block;
  private final String prefix;
  private final boolean openAi;

  private GptOssFiles(TestBlock block, boolean openAi) {
    this.block = block;
    this.openAi = openAi;
    this.prefix = (openAi ? "block." : "model.layers.") + LAYER + ".mlp.";
  }

  /** Names and configuration as transformers has them. */
  static void write(Path folder, TestBlock block) throws IOException {
    tensors(block).write(folder.resolve("model.safetensors"));
    Files.writeString(folder.resolve("config.json"), config(block));
  }

  /** Names and configuration of OpenAI's own release. */
  static void writeOpenAi(Path folder, TestBlock block) throws IOException {
    new GptOssFiles(block, true).build().write(folder.resolve("model.safetensors"));
    Files.writeString(
        folder.resolve("config.json"),
        """
        {"num_hidden_layers": 2, "num_experts": %d, "experts_per_token": %d, "vocab_size": 201088,
         "hidden_size": %d, "intermediate_size": %d, "swiglu_limit": 7.0, "head_dim": 64}
        """
            .formatted(
                block.spec().numExperts(),
                block.spec().topK(),
                block.spec().hiddenSize(),
                block.spec().intermediateSize()));
  }

  /** The tensors of {@link #write}. */
  static SafetensorsBuilder tensors(TestBlock block) {
    return new GptOssFiles(block, false).build();
  }

  /** The configuration of {@link #write}. */
  static String config(TestBlock block) {
    return """
    {"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "hidden_act": "silu",
     "hidden_size": %d, "intermediate_size": %d, "num_local_experts": %d,
     "num_experts_per_tok": %d, "experts_per_token": %d, "num_hidden_layers": 2,
     "swiglu_limit": 7.0,
     "quantization_config": {"quant_method": "mxfp4",
       "modules_to_not_convert": ["model.layers.*.mlp.router", "lm_head"]}}
    """
        .formatted(
            block.spec().hiddenSize(),
            block.spec().intermediateSize(),
            block.spec().numExperts(),
            block.spec().topK(),
            block.spec().topK());
  }

  private SafetensorsBuilder build() {
    long experts = block.spec().numExperts();
    long hidden = block.spec().hiddenSize();
    long intermediate = block.spec().intermediateSize();
    DType bias = block.experts().get(0).biasDtype();
    String biasType = bias.toString().toUpperCase(Locale.ROOT);
    return new SafetensorsBuilder()
        .add("model.norm.weight", "BF16", new byte[8], 4)
        .add(
            prefix + (openAi ? "mlp1_weight.blocks" : "experts.gate_up_proj_blocks"),
            "U8",
            ofAll(e -> interleave(e.gate().codes(), e.up().codes(), rowBytes(e.gate()))),
            experts,
            2 * intermediate,
            hidden / 32,
            16)
        .add(
            prefix + (openAi ? "mlp1_weight.scales" : "experts.gate_up_proj_scales"),
            "U8",
            ofAll(e -> interleave(e.gate().scales(), e.up().scales(), (int) hidden / 32)),
            experts,
            2 * intermediate,
            hidden / 32)
        .add(
            prefix + (openAi ? "mlp1_bias" : "experts.gate_up_proj_bias"),
            biasType,
            ofAll(
                e ->
                    interleave(
                        Bytes.of(bias, e.gateBias()), Bytes.of(bias, e.upBias()), bias.bytes())),
            experts,
            2 * intermediate)
        .add(
            prefix + (openAi ? "mlp2_weight.blocks" : "experts.down_proj_blocks"),
            "U8",
            ofAll(e -> e.down().codes()),
            experts,
            hidden,
            intermediate / 32,
            16)
        .add(
            prefix + (openAi ? "mlp2_weight.scales" : "experts.down_proj_scales"),
            "U8",
            ofAll(e -> e.down().scales()),
            experts,
            hidden,
            intermediate / 32)
        .add(
            prefix + (openAi ? "mlp2_bias" : "experts.down_proj_bias"),
            biasType,
            ofAll(e -> Bytes.of(bias, e.downBias())),
            experts,
            hidden)
        .add(
            prefix + (openAi ? "gate.weight" : "router.weight"),
            "BF16",
            Bytes.of(DType.BF16, block.router()),
            experts,
            hidden)
        .add(
            prefix + (openAi ? "gate.bias" : "router.bias"),
            "BF16",
            Bytes.of(DType.BF16, block.routerBias()),
            experts);
  }

  private byte[] ofAll(Function<TestExpert, byte[]> part) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    block.experts().forEach(expert -> all.writeBytes(part.apply(expert)));
    return all.toByteArray();
  }

  private static int rowBytes(BlockMatrix matrix) {
    return BlockMatrix.rowBytes(matrix.format(), matrix.columns());
  }

  /** gate0, up0, gate1, up1, ... */
  private static byte[] interleave(byte[] gate, byte[] up, int rowBytes) {
    byte[] both = new byte[gate.length + up.length];
    for (int start = 0; start < gate.length; start += rowBytes) {
      System.arraycopy(gate, start, both, 2 * start, rowBytes);
      System.arraycopy(up, start, both, 2 * start + rowBytes, rowBytes);
    }
    return both;
  }
}
