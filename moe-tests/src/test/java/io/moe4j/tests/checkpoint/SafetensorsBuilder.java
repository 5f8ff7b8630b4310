package io.moe4j.tests.checkpoint;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Collectors;

/** Writes safetensors files: a length, a JSON header, the tensors' bytes. */
public final class SafetensorsBuilder {

  @SuppressWarnings("ArrayRecordComponent")
  private record Entry(String dtype, long[] shape, byte[] data) {}

  private final Map<String, Entry> entries = new LinkedHashMap<>();

  /** Adds a tensor; the data follow in the order of the calls. */
  public SafetensorsBuilder add(String name, String dtype, byte[] data, long... shape) {
    entries.put(name, new Entry(dtype, shape, data));
    return this;
  }

  /** Removes the tensor of this name. */
  public void remove(String name) {
    if (entries.remove(name) == null) {
      throw new AssertionError("no tensor " + name);
    }
  }

  /** Removes all tensors whose names begin so. */
  public void removeAll(String prefix) {
    if (!entries.keySet().removeIf(name -> name.startsWith(prefix))) {
      throw new AssertionError("no tensors " + prefix + "*");
    }
  }

  /** Writes one file. */
  public void write(Path file) throws IOException {
    write(file, entries);
  }

  /** Writes the tensors to shards in turn, and the index that lists them. */
  void writeSharded(Path folder, int shards) throws IOException {
    StringBuilder index = new StringBuilder();
    for (int shard = 0; shard < shards; shard++) {
      String file = "model-%05d-of-%05d.safetensors".formatted(shard + 1, shards);
      Map<String, Entry> part = new LinkedHashMap<>();
      int position = 0;
      for (Map.Entry<String, Entry> entry : entries.entrySet()) {
        if (position++ % shards == shard) {
          part.put(entry.getKey(), entry.getValue());
          index.append(index.isEmpty() ? "" : ",");
          index.append("\"%s\":\"%s\"".formatted(entry.getKey(), file));
        }
      }
      write(folder.resolve(file), part);
    }
    long bytes = entries.values().stream().mapToLong(entry -> entry.data.length).sum();
    Files.writeString(
        folder.resolve("model.safetensors.index.json"),
        "{\"metadata\":{\"total_size\":%d},\"weight_map\":{%s}}".formatted(bytes, index));
  }

  private static void write(Path file, Map<String, Entry> entries) throws IOException {
    StringBuilder header = new StringBuilder("{\"__metadata__\":{\"format\":\"pt\"}");
    long offset = 0;
    for (Map.Entry<String, Entry> named : entries.entrySet()) {
      Entry entry = named.getValue();
      String shape =
          Arrays.stream(entry.shape).mapToObj(Long::toString).collect(Collectors.joining(","));
      header.append(
          ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%d,%d]}"
              .formatted(named.getKey(), entry.dtype, shape, offset, offset + entry.data.length));
      offset += entry.data.length;
    }
    header.append('}');
    while (header.length() % 8 != 0) {
      header.append(' ');
    }
    try (OutputStream out = Files.newOutputStream(file)) {
      out.write(
          ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(header.length()).array());
      out.write(header.toString().getBytes(StandardCharsets.US_ASCII));
      for (Entry entry : entries.values()) {
        out.write(entry.data);
      }
    }
  }
}
