package io.moe4j.checkpoint;

import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/** What the tensors of one gpt-oss layer are called: the same data goes by two sets of names. */
record GptOssNames(
    String prefix,
    String gateUpBlocks,
    String gateUpScales,
    String gateUpBias,
    String downBlocks,
    String downScales,
    String downBias,
    String routerWeight,
    String routerBias) {

  /** Names of the transformers library: {@code model.layers.{layer}.mlp.experts...}. */
  static GptOssNames transformers(int layer) {
    String prefix = "model.layers." + layer + ".mlp.";
    return new GptOssNames(
        prefix,
        prefix + "experts.gate_up_proj_blocks",
        prefix + "experts.gate_up_proj_scales",
        prefix + "experts.gate_up_proj_bias",
        prefix + "experts.down_proj_blocks",
        prefix + "experts.down_proj_scales",
        prefix + "experts.down_proj_bias",
        prefix + "router.weight",
        prefix + "router.bias");
  }

  /** Names of OpenAI's own release: {@code block.{layer}.mlp...}. */
  static GptOssNames openAi(int layer) {
    String prefix = "block." + layer + ".mlp.";
    return new GptOssNames(
        prefix,
        prefix + "mlp1_weight.blocks",
        prefix + "mlp1_weight.scales",
        prefix + "mlp1_bias",
        prefix + "mlp2_weight.blocks",
        prefix + "mlp2_weight.scales",
        prefix + "mlp2_bias",
        prefix + "gate.weight",
        prefix + "gate.bias");
  }

  /** All of them, without the prefix. */
  Set<String> known() {
    Set<String> known = new TreeSet<>();
    for (String name :
        List.of(
            gateUpBlocks,
            gateUpScales,
            gateUpBias,
            downBlocks,
            downScales,
            downBias,
            routerWeight,
            routerBias)) {
      known.add(name.substring(prefix.length()));
    }
    return known;
  }
}
