package io.moe4j.checkpoint;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.moe4j.ClosedException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.NavigableSet;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * The tensors of a checkpoint by name, wherever they are stored: shards listed by {@code
 * model.safetensors.index.json}, one {@code model.safetensors}, or whatever {@code *.safetensors}
 * files a folder has. Shards of an index are opened when a tensor of them is first asked for, so a
 * folder with some shards missing serves the layers that it has. Owns the files; safe from any
 * thread.
 */
public final class ShardedTensors implements AutoCloseable {
  private static final String INDEX = "model.safetensors.index.json";
  private static final String SINGLE = "model.safetensors";
  private static final long MAX_INDEX_BYTES = 256L << 20;

  private final Path source;
  private final NavigableMap<String, Path> shardOf;
  private final Map<Path, SafetensorsFile> open = new HashMap<>();
  private boolean closed;

  private ShardedTensors(Path source, NavigableMap<String, Path> shardOf) {
    this.source = source;
    this.shardOf = shardOf;
  }

  /**
   * Opens a folder, or a single file, to be closed by the caller.
   *
   * @throws CheckpointException when there is no safetensors file, or what is there is malformed
   */
  public static ShardedTensors open(Path path) {
    if (!Files.isDirectory(path)) {
      return ofFiles(path, List.of(path));
    }
    Path index = path.resolve(INDEX);
    if (Files.exists(index)) {
      return new ShardedTensors(index, readIndex(index));
    }
    Path single = path.resolve(SINGLE);
    return ofFiles(path, Files.exists(single) ? List.of(single) : safetensorsIn(path));
  }

  private static List<Path> safetensorsIn(Path folder) {
    try (Stream<Path> files = Files.list(folder)) {
      List<Path> found =
          files.filter(file -> file.toString().endsWith(".safetensors")).sorted().toList();
      if (found.isEmpty()) {
        throw new CheckpointException(folder, "found no " + INDEX + " and no *.safetensors file");
      }
      return found;
    } catch (IOException e) {
      throw new CheckpointException(folder, "cannot be listed: " + e, e);
    }
  }

  private static ShardedTensors ofFiles(Path source, List<Path> files) {
    ShardedTensors tensors = new ShardedTensors(source, new TreeMap<>());
    try {
      for (Path path : files) {
        SafetensorsFile file = SafetensorsFile.open(path);
        tensors.open.put(path, file);
        for (String name : file.tensors().keySet()) {
          Path other = tensors.shardOf.put(name, path);
          if (other != null) {
            throw CheckpointException.ofTensor(path, name, "also in " + other.getFileName());
          }
        }
      }
      return tensors;
    } catch (RuntimeException e) {
      tensors.close();
      throw e;
    }
  }

  private static NavigableMap<String, Path> readIndex(Path index) {
    try (InputStream json = Files.newInputStream(index)) {
      if (Files.size(index) > MAX_INDEX_BYTES) {
        throw new CheckpointException(
            index, "found " + Files.size(index) + " bytes, expected at most " + MAX_INDEX_BYTES);
      }
      return StrictJson.read(index, "index", json, parser -> readIndex(index, parser));
    } catch (IOException e) {
      throw new CheckpointException(index, "cannot be read: " + e, e);
    }
  }

  private static NavigableMap<String, Path> readIndex(Path index, JsonParser parser)
      throws IOException {
    NavigableMap<String, Path> shardOf = null;
    StrictJson.expect(index, "index", parser, JsonToken.START_OBJECT);
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      if (parser.currentName().equals("weight_map")) {
        shardOf = readWeightMap(index, parser);
      } else {
        parser.nextToken();
        parser.skipChildren();
      }
    }
    if (shardOf == null) {
      throw new CheckpointException(index, "has no weight_map");
    }
    return shardOf;
  }

  private static NavigableMap<String, Path> readWeightMap(Path index, JsonParser parser)
      throws IOException {
    NavigableMap<String, Path> shardOf = new TreeMap<>();
    Map<String, Path> shards = new HashMap<>();
    StrictJson.expect(index, "weight_map", parser, JsonToken.START_OBJECT);
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String tensor = parser.currentName();
      StrictJson.expect(index, "weight_map", parser, JsonToken.VALUE_STRING);
      String shard = parser.getText();
      Path known = shards.get(shard);
      if (known == null) {
        known = shardPath(index, tensor, shard);
        shards.put(shard, known);
      }
      shardOf.put(tensor, known);
    }
    return shardOf;
  }

  /** A shard lies beside its index: a checkpoint does not choose what else of a disk is read. */
  private static Path shardPath(Path index, String tensor, String shard) {
    if (!shard.endsWith(".safetensors")
        || shard.indexOf('/') >= 0
        || shard.indexOf('\\') >= 0
        || shard.indexOf('\0') >= 0) {
      throw CheckpointException.ofTensor(
          index,
          tensor,
          "shard: found "
              + CheckpointException.quote(shard)
              + ", expected the name of a *.safetensors file in the same folder");
    }
    return index.resolveSibling(shard);
  }

  /** Names of all tensors, sorted; of an index, as it claims. */
  public NavigableSet<String> names() {
    return Collections.unmodifiableNavigableSet(shardOf.navigableKeySet());
  }

  /** Names that start like this, sorted. */
  public NavigableSet<String> namesFrom(String prefix) {
    return Collections.unmodifiableNavigableSet(
        shardOf.subMap(prefix, true, prefix + Character.MAX_VALUE, false).navigableKeySet());
  }

  /** Whether there is, or the index claims, a tensor of this name. */
  public boolean contains(String name) {
    return shardOf.containsKey(name);
  }

  /** The tensor of this name, if there is one. */
  public Optional<StoredTensor> find(String name) {
    return contains(name) ? Optional.of(tensor(name)) : Optional.empty();
  }

  /**
   * The tensor of this name.
   *
   * @throws CheckpointException when there is none, or its shard is missing or malformed
   */
  public StoredTensor tensor(String name) {
    Path shard = shardOf.get(name);
    if (shard == null) {
      throw CheckpointException.ofTensor(source, name, "missing from the checkpoint");
    }
    return shard(shard, name)
        .find(name)
        .orElseThrow(
            () ->
                CheckpointException.ofTensor(
                    shard, name, "not in this shard, though " + source.getFileName() + " says so"));
  }

  private synchronized SafetensorsFile shard(Path path, String tensor) {
    if (closed) {
      throw new ClosedException("checkpoint " + source + " was closed before it was read");
    }
    SafetensorsFile file = open.get(path);
    if (file == null) {
      if (!Files.exists(path)) {
        throw CheckpointException.ofTensor(
            path, tensor, "its shard is missing, though " + source.getFileName() + " lists it");
      }
      file = SafetensorsFile.open(path);
      open.put(path, file);
    }
    return file;
  }

  /** Shards that the index lists and the folder lacks, sorted. */
  public List<Path> missingShards() {
    return shardOf.values().stream()
        .distinct()
        .filter(shard -> !Files.exists(shard))
        .sorted()
        .toList();
  }

  /** Where the names came from: the index, the file or the folder. */
  public Path source() {
    return source;
  }

  /** Closes all files; see {@link SafetensorsFile} for buffers handed out before. */
  @Override
  public synchronized void close() {
    closed = true;
    open.values().forEach(SafetensorsFile::close);
  }
}
