package io.moe4j.testing;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * Tensors in memory and the simplest writer of safetensors files there can be, independent of the
 * one under test: headers are made as text, so that tests can also make wrong ones.
 */
public final class RawTensors {
  /** A tensor as it is going to lie in the file. */
  public record Raw(String dtype, String shape, ByteBuffer data) {}

  private final Map<String, Raw> tensors = new LinkedHashMap<>();

  public RawTensors add(String name, String dtype, byte[] data, long... shape) {
    tensors.put(name, new Raw(dtype, Arrays.toString(shape), ByteBuffer.wrap(data)));
    return this;
  }

  public RawTensors addF32(String name, float[] values, long... shape) {
    ByteBuffer data = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      data.putFloat(value);
    }
    return add(name, "F32", data.array(), shape);
  }

  public RawTensors addBf16(String name, float[] values, long... shape) {
    ByteBuffer data = ByteBuffer.allocate(2 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      data.putShort((short) (Float.floatToRawIntBits(value) >>> 16));
    }
    return add(name, "BF16", data.array(), shape);
  }

  public RawTensors remove(String name) {
    if (tensors.remove(name) == null) {
      throw new AssertionError(name);
    }
    return this;
  }

  public byte[] data(String name) {
    return tensors.get(name).data().array();
  }

  /** One file with the data in the order of the names' addition. */
  public Path write(Path path) throws IOException {
    return writeSome(path, new ArrayList<>(tensors.keySet()));
  }

  /** {@code shards} files and their index, dealt round robin. */
  public void writeSharded(Path folder, int shards) throws IOException {
    List<List<String>> names = new ArrayList<>();
    for (int i = 0; i < shards; i++) {
      names.add(new ArrayList<>());
    }
    int next = 0;
    Map<String, String> map = new LinkedHashMap<>();
    for (String name : tensors.keySet()) {
      int shard = next++ % shards;
      names.get(shard).add(name);
      map.put(name, shardName(shard, shards));
    }
    for (int i = 0; i < shards; i++) {
      writeSome(folder.resolve(shardName(i, shards)), names.get(i));
    }
    Files.writeString(
        folder.resolve("model.safetensors.index.json"),
        map.entrySet().stream()
            .map(entry -> '"' + entry.getKey() + "\": \"" + entry.getValue() + '"')
            .collect(
                Collectors.joining(
                    ",\n", "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {\n", "}}")));
  }

  public static String shardName(int shard, int shards) {
    return String.format("model-%05d-of-%05d.safetensors", shard + 1, shards);
  }

  private Path writeSome(Path path, List<String> names) throws IOException {
    List<String> entries = new ArrayList<>();
    ByteArrayOutputStream data = new ByteArrayOutputStream();
    for (String name : names) {
      Raw raw = tensors.get(name);
      entries.add(entry(name, raw.dtype(), raw.shape(), data.size(), data(name).length));
      data.write(data(name));
    }
    return writeFile(path, "{" + String.join(", ", entries) + "}", data.toByteArray());
  }

  public static String entry(String name, String dtype, String shape, long begin, long bytes) {
    return String.format(
        "\"%s\": {\"dtype\": \"%s\", \"shape\": %s, \"data_offsets\": [%d, %d]}",
        name, dtype, shape, begin, begin + bytes);
  }

  /** Any header before any data. */
  public static Path writeFile(Path path, String header, byte[] data) throws IOException {
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    ByteBuffer length = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
    length.putLong(0, json.length);
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    file.write(length.array());
    file.write(json);
    file.write(data);
    return Files.write(path, file.toByteArray());
  }
}
