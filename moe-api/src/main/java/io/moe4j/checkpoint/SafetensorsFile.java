package io.moe4j.checkpoint;

import com.google.common.base.Throwables;
import com.google.common.io.ByteStreams;
import com.google.common.util.concurrent.Uninterruptibles;
import io.moe4j.ClosedException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Channels;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * A safetensors file, memory-mapped. Opening reads and checks the header alone; data is mapped when
 * it is asked for, in windows shared by all tensors, and read by the operating system when it is
 * touched. Safe from any thread.
 *
 * <p>Closing ends access to the file. Buffers handed out before stay valid: the mapping below them
 * goes when the last of them becomes unreachable. The file must not be truncated meanwhile.
 */
public final class SafetensorsFile implements AutoCloseable {
  /**
   * A window starts at every multiple of this and is up to two long, less the byte that a buffer
   * cannot have, so that every range of up to this size lies in one window.
   */
  private static final long WINDOW = 1L << 30;

  private static final int LENGTH_BYTES = 8;

  private final Path path;
  private final FileChannel channel;
  private final long size;
  private final Map<String, String> metadata;
  private final Map<String, StoredTensor> tensors;
  private final AtomicReferenceArray<ByteBuffer> windows;

  private SafetensorsFile(
      Path path, FileChannel channel, long size, long dataStart, SafetensorsHeader header) {
    this.path = path;
    this.channel = channel;
    this.size = size;
    this.metadata = Collections.unmodifiableMap(header.metadata());
    Map<String, StoredTensor> stored = new LinkedHashMap<>();
    header
        .tensors()
        .forEach((name, entry) -> stored.put(name, new StoredTensor(this, entry, dataStart)));
    this.tensors = Collections.unmodifiableMap(stored);
    this.windows = new AtomicReferenceArray<>((int) (size / WINDOW) + 1);
  }

  /**
   * Opens a file, to be closed by the caller.
   *
   * @throws CheckpointException when it is missing, or not a well-formed safetensors file
   */
  public static SafetensorsFile open(Path path) {
    if (Files.exists(path) && !Files.isRegularFile(path)) {
      throw new CheckpointException(path, "found a directory or device, expected a file");
    }
    FileChannel channel = null;
    try {
      channel = FileChannel.open(path, StandardOpenOption.READ);
      SafetensorsFile file = read(path, channel);
      channel = null;
      return file;
    } catch (NoSuchFileException e) {
      throw new CheckpointException(path, "no such file", e);
    } catch (IOException e) {
      throw new CheckpointException(path, "cannot be read: " + e, e);
    } finally {
      closeQuietly(channel);
    }
  }

  private static SafetensorsFile read(Path path, FileChannel channel) throws IOException {
    long size = channel.size();
    if (size < LENGTH_BYTES) {
      throw new CheckpointException(
          path, "found " + size + " bytes, expected a header's length of 8 bytes and a header");
    }
    ByteBuffer length = ByteBuffer.allocate(LENGTH_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    while (length.hasRemaining() && channel.read(length) >= 0) {}
    long headerBytes = length.getLong(0);
    long dataStart = LENGTH_BYTES + headerBytes;
    if (headerBytes < 2
        || headerBytes > SafetensorsHeader.MAX_BYTES
        || headerBytes > size - LENGTH_BYTES) {
      throw new CheckpointException(
          path,
          "header's length: found "
              + Long.toUnsignedString(headerBytes)
              + ", expected 2 to "
              + Math.min(SafetensorsHeader.MAX_BYTES, size - LENGTH_BYTES));
    }
    InputStream json = ByteStreams.limit(Channels.newInputStream(channel), headerBytes);
    return new SafetensorsFile(
        path, channel, size, dataStart, SafetensorsHeader.parse(path, json, size - dataStart));
  }

  private static void closeQuietly(FileChannel channel) {
    if (channel != null) {
      try {
        channel.close();
      } catch (IOException e) {
        // Only read from: the failure that led here tells more.
      }
    }
  }

  /** Where the file is. */
  public Path path() {
    return path;
  }

  /** Free-form strings of the header's {@code __metadata__}, in its order. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** All tensors by name, in the header's order. */
  public Map<String, StoredTensor> tensors() {
    return tensors;
  }

  /** The tensor of this name, if there is one. */
  public Optional<StoredTensor> find(String name) {
    return Optional.ofNullable(tensors.get(name));
  }

  /**
   * The tensor of this name.
   *
   * @throws CheckpointException when there is none
   */
  public StoredTensor tensor(String name) {
    return find(name)
        .orElseThrow(() -> CheckpointException.ofTensor(path, name, "not in this file"));
  }

  /** Bytes [offset, offset + bytes) of the file, little-endian, without a copy. */
  ByteBuffer map(long offset, int bytes) {
    if (!channel.isOpen()) {
      throw new ClosedException(path + " was closed before a tensor of it was read");
    }
    try {
      if (bytes > WINDOW) {
        return mapped(offset, bytes).order(ByteOrder.LITTLE_ENDIAN);
      }
      int index = (int) (offset / WINDOW);
      int start = (int) (offset % WINDOW);
      return window(index).slice(start, bytes).order(ByteOrder.LITTLE_ENDIAN);
    } catch (ClosedChannelException e) {
      throw new ClosedException(path + " was closed while a tensor of it was read", e);
    } catch (IOException e) {
      throw new CheckpointException(path, "cannot be mapped: " + e, e);
    }
  }

  /**
   * Maps in a thread that nobody else knows: to interrupt one that uses a channel is to close it,
   * for all others too.
   */
  private ByteBuffer mapped(long offset, long bytes) throws IOException {
    FutureTask<ByteBuffer> mapping =
        new FutureTask<>(() -> channel.map(FileChannel.MapMode.READ_ONLY, offset, bytes));
    new Thread(mapping, "moe4j-checkpoint").start();
    try {
      return Uninterruptibles.getUninterruptibly(mapping);
    } catch (ExecutionException e) {
      Throwables.throwIfInstanceOf(e.getCause(), IOException.class);
      throw new IllegalStateException(e.getCause());
    }
  }

  private ByteBuffer window(int index) throws IOException {
    ByteBuffer window = windows.get(index);
    if (window == null) {
      long start = index * WINDOW;
      long bytes = Math.min(Integer.MAX_VALUE, size - start);
      window = mapped(start, bytes);
      // Two threads may both map: the loser's window is unmapped when it is collected.
      windows.set(index, window);
    }
    return window;
  }

  /** Closes the file; the second call does nothing. */
  @Override
  public void close() {
    closeQuietly(channel);
    for (int i = 0; i < windows.length(); i++) {
      windows.set(i, null);
    }
  }
}
