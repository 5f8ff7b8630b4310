package io.moe4j.checkpoint;

import java.util.NavigableSet;
import java.util.Set;
import java.util.TreeSet;

/** The Mixture-of-Experts block of one model family: names of its tensors, and its routing. */
sealed interface MoeBlock permits GptOssBlock, SoftmaxBlock, DeepSeekV3Block {

  /** Name of the family, as {@code model_type} spells it. */
  String modelType();

  /** Numbers of the layers that have experts. */
  NavigableSet<Integer> layers();

  /** A layer that {@link #layers} has. */
  MoeCheckpointLayer layer(int layer);

  /** The block that a configuration describes. */
  static MoeBlock of(CheckpointConfig config, ShardedTensors tensors) {
    String modelType = config.modelType();
    return switch (modelType) {
      case "gpt_oss" -> new GptOssBlock(config, tensors);
      case "qwen3_moe" -> new Qwen3MoeBlock(config, tensors);
      case "mixtral" -> new MixtralBlock(config, tensors);
      case "deepseek_v3", "kimi_k2" -> new DeepSeekV3Block(config, tensors);
      default -> {
        // OpenAI's own release of gpt-oss says nothing about its type.
        if (modelType.isEmpty() && !GptOssBlock.openAiLayers(tensors).isEmpty()) {
          yield new GptOssBlock(config, tensors);
        }
        throw config.wrong("model_type", "gpt_oss, qwen3_moe, mixtral, deepseek_v3 or kimi_k2");
      }
    };
  }

  /** Numbers n of all names "{before}n{after}...". */
  static NavigableSet<Integer> layersNamed(ShardedTensors tensors, String before, String after) {
    NavigableSet<Integer> layers = new TreeSet<>();
    for (String name : tensors.namesFrom(before)) {
      int dot = name.indexOf('.', before.length());
      if (dot > before.length() && dot <= before.length() + 6 && name.startsWith(after, dot)) {
        String number = name.substring(before.length(), dot);
        if (number.chars().allMatch(c -> c >= '0' && c <= '9')) {
          layers.add(Integer.parseInt(number));
        }
      }
    }
    return layers;
  }

  /**
   * Refuses tensors of a block that its family does not have: the block's output may depend on
   * them.
   *
   * @param known what may follow the prefix; a final dot admits whatever follows
   */
  static void checkNames(ShardedTensors tensors, String prefix, Set<String> known) {
    for (String name : tensors.namesFrom(prefix)) {
      String rest = name.substring(prefix.length());
      int dot = rest.indexOf('.');
      if (!known.contains(rest) && !known.contains(rest.substring(0, dot + 1))) {
        throw CheckpointException.ofTensor(
            tensors.source(), name, "not known in a block of this model, expected " + known);
      }
    }
  }
}
