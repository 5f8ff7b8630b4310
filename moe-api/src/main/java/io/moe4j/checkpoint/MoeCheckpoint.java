package io.moe4j.checkpoint;

import io.moe4j.InvalidArgumentException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.NavigableSet;

/**
 * A model's folder, of which this reads the Mixture-of-Experts layers: {@code config.json} and
 * safetensors files, memory-mapped. Families: gpt-oss in MXFP4, and Qwen3 MoE, Mixtral, DeepSeek-V3
 * and Kimi-K2 in NVFP4 (of ModelOpt or compressed-tensors) or BF16.
 *
 * <p>Opening reads headers alone. Owns its files; layers, weights and routers borrow from it. Safe
 * from any thread.
 */
public final class MoeCheckpoint implements AutoCloseable {
  private final CheckpointConfig config;
  private final ShardedTensors tensors;
  private final MoeBlock block;
  private final NavigableSet<Integer> layers;

  private MoeCheckpoint(CheckpointConfig config, ShardedTensors tensors) {
    this.config = config;
    this.tensors = tensors;
    this.block = MoeBlock.of(config, tensors);
    this.layers = block.layers();
  }

  /**
   * Opens a checkpoint's folder, to be closed by the caller.
   *
   * @throws CheckpointException when it is not a checkpoint of a known family
   */
  public static MoeCheckpoint open(Path folder) {
    if (!Files.isDirectory(folder)) {
      throw new CheckpointException(
          folder, Files.exists(folder) ? "not a folder" : "no such folder");
    }
    CheckpointConfig config = CheckpointConfig.read(folder);
    ShardedTensors tensors = ShardedTensors.open(folder);
    try {
      return new MoeCheckpoint(config, tensors);
    } catch (RuntimeException e) {
      tensors.close();
      throw e;
    }
  }

  /** The model's configuration. */
  public CheckpointConfig config() {
    return config;
  }

  /** All tensors, those of other layers included. */
  public ShardedTensors tensors() {
    return tensors;
  }

  /** The family that the model belongs to: "gpt_oss", "qwen3_moe", "mixtral" or "deepseek_v3". */
  public String family() {
    return block.modelType();
  }

  /** Numbers of the layers that have experts, ascending. */
  public List<Integer> layers() {
    return List.copyOf(layers);
  }

  /**
   * A layer.
   *
   * @throws InvalidArgumentException when it has no experts
   * @throws CheckpointException when its tensors are missing or not what they have to be
   */
  public MoeCheckpointLayer layer(int layer) {
    if (!layers.contains(layer)) {
      throw new InvalidArgumentException(
          "layer",
          layer + (layer >= 0 && isDense(layer) ? ", a dense layer" : ""),
          layers.isEmpty()
              ? "a layer with experts, but " + tensors.source() + " has none"
              : "one with experts: " + ranges(layers));
    }
    return block.layer(layer);
  }

  private boolean isDense(int layer) {
    return layer < config.count("first_k_dense_replace", 0)
        || !tensors.namesFrom("model.layers." + layer + ".mlp.").isEmpty();
  }

  /** "3 to 60, 62". */
  private static String ranges(NavigableSet<Integer> numbers) {
    StringBuilder text = new StringBuilder();
    int first = numbers.first();
    for (int number : numbers) {
      if (numbers.contains(number + 1)) {
        continue;
      }
      text.append(text.length() == 0 ? "" : ", ").append(first);
      text.append(first == number ? "" : " to " + number);
      first = numbers.higher(number) == null ? number : numbers.higher(number);
    }
    return text.toString();
  }

  /**
   * Reads a layer's scales and a sample of its weights, and says what it is and what is wrong with
   * it. Trouble with its tensors becomes findings, not exceptions.
   *
   * @throws InvalidArgumentException when the layer has no experts
   */
  public LayerReport inspect(int layer) {
    return LayerInspector.inspect(this, layer);
  }

  /** What is wrong with the checkpoint as a whole: shards that are listed but missing. */
  public List<Finding> findings() {
    return tensors.missingShards().stream()
        .map(
            shard ->
                new Finding(
                    Finding.Severity.ERROR,
                    shard.getFileName().toString(),
                    "listed by " + tensors.source().getFileName() + ", but missing"))
        .toList();
  }

  /** Closes the files; buffers of weights that were handed out before stay valid. */
  @Override
  public void close() {
    tensors.close();
  }
}
