package io.moe4j.tests.checkpoint;

import io.moe4j.DType;
import io.moe4j.MoeDevice;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;
import io.moe4j.checkpoint.CheckpointExperts;
import io.moe4j.checkpoint.MoeCheckpoint;
import io.moe4j.tests.checkpoint.ProjectionFiles.Quantizer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;

/** A small checkpoint in one file, to be damaged: H = 64, I = 32, 2 of 4 experts. */
public final class CheckpointFolder {
  private final Path folder;
  private final SafetensorsBuilder tensors;
  private final int layer;

  private CheckpointFolder(Path folder, SafetensorsBuilder tensors, int layer) {
    this.folder = folder;
    this.tensors = tensors;
    this.layer = layer;
  }

  /** gpt-oss. */
  public static CheckpointFolder gptOss(Path folder) throws IOException {
    TestBlock block = block(QuantFormat.MXFP4, RoutingMethod.RENORMALIZE, DType.BF16);
    GptOssFiles.write(folder, block);
    return new CheckpointFolder(folder, GptOssFiles.tensors(block), GptOssFiles.LAYER);
  }

  /** Qwen3 as ModelOpt quantizes it. */
  public static CheckpointFolder modelOpt(Path folder) throws IOException {
    return qwen3(folder, Quantizer.MODELOPT);
  }

  /** Qwen3 as compressed-tensors quantizes it. */
  public static CheckpointFolder compressedTensors(Path folder) throws IOException {
    return qwen3(folder, Quantizer.COMPRESSED_TENSORS);
  }

  private static CheckpointFolder qwen3(Path folder, Quantizer quantizer) throws IOException {
    TestBlock block = block(QuantFormat.NVFP4, RoutingMethod.RENORMALIZE_NAIVE, null);
    SafetensorsBuilder tensors = ProjectionFiles.tensors(block, quantizer);
    tensors.write(folder.resolve("model.safetensors"));
    ProjectionFiles.writeConfig(folder, block, quantizer);
    return new CheckpointFolder(folder, tensors, ProjectionFiles.LAYER);
  }

  private static TestBlock block(QuantFormat format, RoutingMethod method, DType biasDtype) {
    return TestBlock.draw(
        MoeSpec.builder()
            .weightFormat(format)
            .hiddenSize(64)
            .intermediateSize(32)
            .numExperts(4)
            .topK(2)
            .routing(RoutingSpec.of(method))
            .build(),
        biasDtype,
        1);
  }

  /** Where it is. */
  public Path path() {
    return folder;
  }

  /** The one file with tensors. */
  public Path file() {
    return folder.resolve("model.safetensors");
  }

  /** The layer that has experts. */
  public int layer() {
    return layer;
  }

  /** Name of a tensor of the layer. */
  public String name(String tensor) {
    return "model.layers." + layer + ".mlp." + tensor;
  }

  /** Writes the file again with other tensors. */
  public CheckpointFolder tensors(Consumer<SafetensorsBuilder> change) throws IOException {
    change.accept(tensors);
    tensors.write(file());
    return this;
  }

  /** Writes two shards instead of the one file. */
  public CheckpointFolder sharded() throws IOException {
    Files.delete(file());
    tensors.writeSharded(folder, 2);
    return this;
  }

  /** Changes the configuration's text, which has to contain {@code found}. */
  public CheckpointFolder config(String found, String replacement) throws IOException {
    Path config = folder.resolve("config.json");
    Files.writeString(config, replaced(Files.readString(config), found, replacement));
    return this;
  }

  /** Changes the header's text, which has to contain {@code found}, and its length with it. */
  public CheckpointFolder header(String found, String replacement) throws IOException {
    return header(header -> replaced(header, found, replacement));
  }

  /** Changes the header's text, and its length with it. */
  public CheckpointFolder header(UnaryOperator<String> change) throws IOException {
    byte[] bytes = Files.readAllBytes(file());
    int length = (int) ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
    byte[] header =
        change
            .apply(new String(bytes, 8, length, StandardCharsets.UTF_8))
            .getBytes(StandardCharsets.UTF_8);
    ByteBuffer changed =
        ByteBuffer.allocate(bytes.length - length + header.length).order(ByteOrder.LITTLE_ENDIAN);
    changed.putLong(header.length).put(header).put(bytes, 8 + length, bytes.length - 8 - length);
    Files.write(file(), changed.array());
    return this;
  }

  /** Claims a header of this length. */
  public CheckpointFolder headerLength(long length) throws IOException {
    byte[] bytes = Files.readAllBytes(file());
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(length);
    Files.write(file(), bytes);
    return this;
  }

  /** Cuts the file, or lengthens it with zeros. */
  public CheckpointFolder resize(int change) throws IOException {
    byte[] bytes = Files.readAllBytes(file());
    Files.write(file(), Arrays.copyOf(bytes, bytes.length + change));
    return this;
  }

  /** Opens the checkpoint and prepares its layer. */
  public void load(MoeDevice device, QuantFormat activations) {
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      CheckpointExperts experts = checkpoint.layer(layer).routedExperts();
      MoeSpec spec = experts.spec(activations);
      device.prepare(spec, experts.weights(spec)).close();
    }
  }

  private static String replaced(String text, String found, String replacement) {
    if (!text.contains(found)) {
      throw new AssertionError("\"" + found + "\" is not in " + text);
    }
    return text.replace(found, replacement);
  }
}
