package io.moe4j.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.InvalidArgumentException;
import io.moe4j.testing.RawTensors;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A tensor larger than a buffer, in a sparse file with marks around every seam of its mapping. */
final class LargeFileTest {
  private static final long GIB = 1L << 30;
  private static final long BYTES = 4 * GIB + 100;

  @TempDir Path folder;
  private SafetensorsFile file;
  private StoredTensor tensor;
  private long dataStart;

  @BeforeEach
  void makeFile() throws IOException {
    Path path = folder.resolve("large.safetensors");
    String header = "{" + RawTensors.entry("large", "U8", "[" + BYTES + "]", 0, BYTES) + "}";
    RawTensors.writeFile(path, header, new byte[0]);
    dataStart = Files.size(path);
    try (RandomAccessFile writer = new RandomAccessFile(path.toFile(), "rw")) {
      writer.setLength(dataStart + BYTES);
      for (long gib = 0; gib <= 4; gib++) {
        for (long at = Math.max(dataStart, gib * GIB - 2); at < gib * GIB + 2; at++) {
          writer.seek(at);
          writer.write(mark(at));
        }
      }
    }
    file = SafetensorsFile.open(path);
    tensor = file.tensor("large");
  }

  @AfterEach
  void closeFile() {
    file.close();
  }

  /** What lies at an offset of the file close to a seam. */
  private static byte mark(long at) {
    return (byte) (17 * ((at + 2) / GIB) + at % 4 + 1);
  }

  private void assertMarks(ByteBuffer slice, long offset) {
    for (long gib = 1; gib <= 4; gib++) {
      for (long at = gib * GIB - 2; at < gib * GIB + 2; at++) {
        long index = at - dataStart - offset;
        if (index >= 0 && index < slice.remaining()) {
          assertEquals(mark(at), slice.get((int) index), "at " + at);
        }
      }
    }
  }

  @Test
  void slicesAcrossEverySeamAreThoseOfTheFile() {
    for (long gib = 1; gib <= 4; gib++) {
      for (long back : new long[] {1, 2, 3, GIB / 2, GIB - 200}) {
        long offset = gib * GIB - dataStart - back;
        long bytes = Math.min(back + 3, tensor.bytes() - offset);
        ByteBuffer slice = tensor.slice(offset, bytes);
        assertEquals(bytes, slice.remaining());
        assertMarks(slice, offset);
      }
    }
  }

  @Test
  void slicesUpToABuffersLimit() {
    for (long bytes : new long[] {GIB - 1, GIB, GIB + 1, Integer.MAX_VALUE}) {
      long offset = 2 * GIB + 5;
      ByteBuffer slice = tensor.slice(offset, bytes);
      assertEquals(bytes, slice.remaining());
      assertMarks(slice, offset);
    }
  }

  @Test
  void whatNoBufferHolds() {
    CheckpointException e = assertThrows(CheckpointException.class, tensor::buffer);
    assertTrue(e.getMessage().contains("expected fewer than 2 GiB"), e::getMessage);
    assertThrows(CheckpointException.class, () -> tensor.slice(0, 2 * GIB));
    assertSlice(-1, 1);
    assertSlice(0, -1);
    assertSlice(BYTES, 1);
    assertSlice(BYTES - 1, 2);
    assertSlice(Long.MAX_VALUE, Long.MAX_VALUE);
    assertEquals(0, tensor.slice(BYTES, 0).remaining());
  }

  private void assertSlice(long offset, long bytes) {
    InvalidArgumentException e =
        assertThrows(InvalidArgumentException.class, () -> tensor.slice(offset, bytes));
    assertEquals("slice", e.argument());
  }
}
