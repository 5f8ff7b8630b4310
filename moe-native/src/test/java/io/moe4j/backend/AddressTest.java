package io.moe4j.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Addresses of buffers: the first remaining byte, whatever kind of buffer it is. */
final class AddressTest {
  @TempDir Path folder;

  @BeforeAll
  static void loadLibrary() {
    NativeLibrary.load();
  }

  @Test
  void zeroIsNull() {
    assertNull(Address.of(0));
  }

  @Test
  void positionMovesTheAddress() {
    ByteBuffer buffer = ByteBuffer.allocateDirect(64);
    long start = Address.of(buffer);
    assertEquals(start + 24, Address.of(buffer.position(24)));
    assertEquals(24, buffer.position());
  }

  @Test
  void slicesAndDuplicatesBeginWhereTheyBegin() {
    ByteBuffer buffer = ByteBuffer.allocateDirect(64);
    long start = Address.of(buffer);
    ByteBuffer slice = buffer.slice(16, 32);
    assertEquals(start + 16, Address.of(slice));
    assertEquals(start + 20, Address.of(slice.position(4)));
    assertEquals(start + 20, Address.of(slice.asReadOnlyBuffer()));
    assertEquals(start + 8, Address.of(buffer.duplicate().position(8)));
  }

  @Test
  void aViewReadsMappedBytesInPlace() throws IOException {
    Path file = Files.write(folder.resolve("mapped"), new byte[] {1, 2, 3, 4, 5, 6, 7, 8});
    try (FileChannel channel = FileChannel.open(file)) {
      ByteBuffer mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, 8).position(3);
      ByteBuffer view = Address.view(Address.of(mapped), 4);
      assertEquals(0x07060504, view.getInt(0));
      assertEquals(4, view.capacity());
      assertEquals(ByteOrder.LITTLE_ENDIAN, view.order());
    }
  }

  @Test
  void anEmptyViewIsABuffer() {
    assertEquals(0, Address.view(0, 0).capacity());
  }
}
