package io.moe4j.checkpoint;

import com.fasterxml.jackson.core.JsonGenerator;
import com.google.common.primitives.ImmutableLongArray;
import io.moe4j.InvalidArgumentException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/**
 * Writes a safetensors file: all tensors are declared first, then their bytes come in any order and
 * any number of pieces, so that no tensor has to be in memory as a whole.
 *
 * <p>The file appears under its name when {@link #commit} succeeds, complete, and replaces what was
 * there; until then, and when the writer is closed without a commit, the name is untouched. One
 * thread at a time.
 *
 * <pre>{@code
 * try (SafetensorsWriter writer =
 *     SafetensorsWriter.to(path).tensor("output", SafetensorsDType.BF16, tokens, hidden).open()) {
 *   writer.write("output", bytes);
 *   writer.commit();
 * }
 * }</pre>
 */
public final class SafetensorsWriter implements AutoCloseable {
  /** Data starts at a multiple of this, so that mapped elements are aligned. */
  private static final int ALIGNMENT = 64;

  private final Path path;
  private final Path temporary;
  private final FileChannel channel;
  private final long dataStart;
  private final Map<String, SafetensorsHeader.Entry> tensors;
  private final Map<String, Long> written = new LinkedHashMap<>();

  private SafetensorsWriter(
      Path path,
      Path temporary,
      FileChannel channel,
      long dataStart,
      Map<String, SafetensorsHeader.Entry> tensors) {
    this.path = path;
    this.temporary = temporary;
    this.channel = channel;
    this.dataStart = dataStart;
    this.tensors = tensors;
    tensors.keySet().forEach(name -> written.put(name, 0L));
  }

  /** Starts the declaration of a file. */
  public static Builder to(Path path) {
    return new Builder(path);
  }

  /** What a file is going to have. Not thread safe. */
  public static final class Builder {
    private final Path path;
    private final Map<String, String> metadata = new LinkedHashMap<>();
    private final Map<String, SafetensorsHeader.Entry> declared = new LinkedHashMap<>();

    private Builder(Path path) {
      this.path = path;
    }

    /** Adds a free-form string. */
    public Builder metadata(String key, String value) {
      metadata.put(key, value);
      return this;
    }

    /** Declares a tensor; no extents make a scalar. */
    public Builder tensor(String name, SafetensorsDType dtype, long... shape) {
      ImmutableLongArray extents = ImmutableLongArray.copyOf(shape);
      long bits = dtype.bits();
      for (long extent : shape) {
        if (extent < 0 || (extent > 0 && bits > Long.MAX_VALUE / extent)) {
          throw new InvalidArgumentException(
              "shape", extents, "extents of at least 0 and fewer than 2^60 bytes");
        }
        bits *= extent;
      }
      if (bits % 8 != 0) {
        throw new InvalidArgumentException("shape", extents, "whole bytes of " + dtype);
      }
      SafetensorsHeader.Entry entry =
          new SafetensorsHeader.Entry(name, dtype, extents, 0, bits / 8);
      if (name.equals(SafetensorsHeader.METADATA) || declared.put(name, entry) != null) {
        throw new InvalidArgumentException("name", name, "a name that was not declared before");
      }
      return this;
    }

    /**
     * Creates the file under a temporary name beside its own; the writer is to be closed.
     *
     * @throws CheckpointException when the folder cannot be written to
     */
    public SafetensorsWriter open() {
      Map<String, SafetensorsHeader.Entry> tensors = layOut();
      Path temporary =
          path.resolveSibling("." + path.getFileName() + "." + UUID.randomUUID() + ".tmp");
      FileChannel channel = null;
      try {
        byte[] header = header(tensors);
        channel =
            FileChannel.open(temporary, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW);
        writeFully(channel, ByteBuffer.wrap(header), 0);
        return new SafetensorsWriter(path, temporary, channel, header.length, tensors);
      } catch (IOException e) {
        discard(temporary, channel);
        throw new CheckpointException(path, "cannot be written: " + e, e);
      }
    }

    /** Widest elements first, so that each tensor is aligned without holes between them. */
    private Map<String, SafetensorsHeader.Entry> layOut() {
      List<SafetensorsHeader.Entry> ordered = new ArrayList<>(declared.values());
      ordered.sort(Comparator.comparingInt(entry -> -entry.dtype().alignment()));
      Map<String, SafetensorsHeader.Entry> placed = new LinkedHashMap<>();
      long begin = 0;
      for (SafetensorsHeader.Entry entry : ordered) {
        long end = Math.addExact(begin, entry.end());
        placed.put(
            entry.name(),
            new SafetensorsHeader.Entry(entry.name(), entry.dtype(), entry.shape(), begin, end));
        begin = end;
      }
      return placed;
    }

    private byte[] header(Map<String, SafetensorsHeader.Entry> tensors) throws IOException {
      ByteArrayOutputStream json = new ByteArrayOutputStream();
      json.write(new byte[Long.BYTES]);
      try (JsonGenerator generator = StrictJson.MAPPER.getFactory().createGenerator(json)) {
        generator.writeStartObject();
        if (!metadata.isEmpty()) {
          generator.writeObjectField(SafetensorsHeader.METADATA, metadata);
        }
        for (SafetensorsHeader.Entry entry : tensors.values()) {
          generator.writeObjectFieldStart(entry.name());
          generator.writeStringField("dtype", entry.dtype().name());
          generator.writeFieldName("shape");
          long[] shape = entry.shape().toArray();
          generator.writeArray(shape, 0, shape.length);
          generator.writeFieldName("data_offsets");
          generator.writeArray(new long[] {entry.begin(), entry.end()}, 0, 2);
          generator.writeEndObject();
        }
        generator.writeEndObject();
      }
      while (json.size() % ALIGNMENT != 0) {
        json.write(' ');
      }
      byte[] header = json.toByteArray();
      ByteBuffer.wrap(header).order(ByteOrder.LITTLE_ENDIAN).putLong(0, header.length - Long.BYTES);
      return header;
    }
  }

  /**
   * Appends the remaining bytes of a little-endian buffer to a tensor, and consumes them.
   *
   * @throws InvalidArgumentException when no such tensor was declared, or it has no room for them
   */
  public void write(String name, ByteBuffer bytes) {
    SafetensorsHeader.Entry entry = tensors.get(name);
    if (entry == null) {
      throw new InvalidArgumentException("name", name, "one of " + tensors.keySet());
    }
    long done = written.get(name);
    long size = entry.end() - entry.begin();
    int count = bytes.remaining();
    if (count > size - done) {
      throw new InvalidArgumentException(
          "bytes", done + count + " bytes for " + name, size + " bytes");
    }
    try {
      writeFully(channel, bytes, dataStart + entry.begin() + done);
    } catch (IOException e) {
      throw new CheckpointException(path, "cannot be written: " + e, e);
    }
    written.put(name, done + count);
  }

  private static void writeFully(FileChannel channel, ByteBuffer bytes, long position)
      throws IOException {
    long at = position;
    while (bytes.hasRemaining()) {
      at += channel.write(bytes, at);
    }
  }

  /**
   * Makes the file durable and gives it its name.
   *
   * @throws InvalidArgumentException when a tensor was not written to its end
   */
  public void commit() {
    written.forEach(
        (name, done) -> {
          SafetensorsHeader.Entry entry = tensors.get(name);
          if (done != entry.end() - entry.begin()) {
            throw new InvalidArgumentException(
                name, done + " bytes", entry.end() - entry.begin() + " bytes before the commit");
          }
        });
    try {
      channel.force(true);
      channel.close();
      Files.move(
          temporary, path, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      throw new CheckpointException(path, "cannot be written: " + e, e);
    }
  }

  /** Ends writing; without a commit, nothing of the file is left. */
  @Override
  public void close() {
    discard(temporary, channel);
  }

  private static void discard(Path temporary, FileChannel channel) {
    try {
      if (channel != null) {
        channel.close();
      }
      Files.deleteIfExists(temporary);
    } catch (IOException e) {
      // The file under its own name is untouched; a stray temporary file is all that is left.
    }
  }
}
