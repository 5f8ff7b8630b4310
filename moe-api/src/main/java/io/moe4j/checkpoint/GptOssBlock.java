package io.moe4j.checkpoint;

import io.moe4j.QuantFormat;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;
import java.util.NavigableSet;
import java.util.Optional;

/** gpt-oss: MXFP4 experts with biases, a clamped SwiGLU, softmax over the chosen logits. */
final class GptOssBlock implements MoeBlock {
  private static final float DEFAULT_LIMIT = 7f;

  private final CheckpointConfig config;
  private final ShardedTensors tensors;

  GptOssBlock(CheckpointConfig config, ShardedTensors tensors) {
    this.config = config;
    this.tensors = tensors;
  }

  static NavigableSet<Integer> openAiLayers(ShardedTensors tensors) {
    return MoeBlock.layersNamed(tensors, "block.", ".mlp.mlp1_weight.");
  }

  @Override
  public String modelType() {
    return "gpt_oss";
  }

  @Override
  public NavigableSet<Integer> layers() {
    NavigableSet<Integer> layers =
        MoeBlock.layersNamed(tensors, "model.layers.", ".mlp.experts.gate_up_proj_");
    layers.addAll(openAiLayers(tensors));
    return layers;
  }

  @Override
  public MoeCheckpointLayer layer(int layer) {
    GptOssNames openAi = GptOssNames.openAi(layer);
    GptOssNames names =
        tensors.contains(openAi.gateUpBlocks()) ? openAi : GptOssNames.transformers(layer);
    MoeBlock.checkNames(tensors, names.prefix(), names.known());
    config.expectText("hidden_act", "silu");
    config.quantization().ifPresent(GptOssBlock::checkDeclared);
    int numExperts = config.count("num_local_experts", "num_experts");
    int hiddenSize = config.count("hidden_size");
    int intermediateSize = config.count("intermediate_size");
    CheckpointExperts experts =
        CheckpointExperts.of(
            config,
            new GptOssExperts(
                tensors, names, numExperts, hiddenSize, intermediateSize, swigluLimit()),
            spec ->
                spec.hiddenSize(hiddenSize)
                    .intermediateSize(intermediateSize)
                    .numExperts(numExperts)
                    .topK(config.count("num_experts_per_tok", "experts_per_token"))
                    .routing(RoutingSpec.of(RoutingMethod.RENORMALIZE)));
    RouterWeights router =
        new RouterWeights(
            tensors.tensor(names.routerWeight()).expectFloats(numExperts, hiddenSize),
            Optional.of(tensors.tensor(names.routerBias()).expectFloats(numExperts)),
            Optional.empty());
    return new MoeCheckpointLayer(layer, experts, Optional.empty(), router);
  }

  private float swigluLimit() {
    float limit = config.number("swiglu_limit", DEFAULT_LIMIT);
    if (!(limit > 0)) {
      throw config.wrong("swiglu_limit", "more than 0");
    }
    return limit;
  }

  private static void checkDeclared(CheckpointConfig.Quantization declared) {
    if (!declared.method().equals("mxfp4")) {
      throw new CheckpointException(
          declared.source(),
          "quantization: found "
              + CheckpointException.quote(declared.method())
              + ", expected mxfp4 for gpt_oss, whose experts are "
              + QuantFormat.MXFP4);
    }
  }
}
