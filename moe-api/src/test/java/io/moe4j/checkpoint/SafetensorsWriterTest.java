package io.moe4j.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.DType;
import io.moe4j.InvalidArgumentException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A file appears complete or not at all. */
final class SafetensorsWriterTest {
  @TempDir Path folder;

  private SafetensorsWriter writer(Path path) {
    return SafetensorsWriter.to(path)
        .tensor("codes", SafetensorsDType.U8, 3)
        .tensor("output", SafetensorsDType.F32, 1, 2)
        .open();
  }

  private static ByteBuffer floats(float... values) {
    ByteBuffer buffer = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      buffer.putFloat(value);
    }
    return buffer.flip();
  }

  @Test
  void piecesComeInAnyOrder() throws IOException {
    Path path = folder.resolve("out.safetensors");
    try (SafetensorsWriter writer = writer(path)) {
      writer.write("output", floats(1f));
      writer.write("codes", ByteBuffer.wrap(new byte[] {7, 8}));
      writer.write("output", floats(2f));
      writer.write("codes", ByteBuffer.allocateDirect(1).put(0, (byte) 9));
      assertFalse(Files.exists(path));
      writer.commit();
    }
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertEquals(floats(1f, 2f), file.tensor("output").buffer());
      assertEquals(ByteBuffer.wrap(new byte[] {7, 8, 9}), file.tensor("codes").buffer());
    }
    assertOnlyFile(path);
  }

  @Test
  void dataIsAlignedForItsType() throws IOException {
    Path path = folder.resolve("out.safetensors");
    try (SafetensorsWriter writer = writer(path)) {
      writer.write("codes", ByteBuffer.allocate(3));
      writer.write("output", floats(1f, 2f));
      writer.commit();
    }
    byte[] file = Files.readAllBytes(path);
    long dataStart = 8 + ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong(0);
    assertEquals(0, dataStart % 64);
    assertEquals(
        1f, ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getFloat((int) dataStart));
  }

  @Test
  void whatWasNotCommittedIsGoneAndWhatWasThereStays() throws IOException {
    Path path = Files.writeString(folder.resolve("out.safetensors"), "before");
    try (SafetensorsWriter writer = writer(path)) {
      writer.write("output", floats(1f, 2f));
    }
    assertEquals("before", Files.readString(path));
    assertOnlyFile(path);
  }

  @Test
  void anIncompleteFileIsNotCommitted() throws IOException {
    Path path = folder.resolve("out.safetensors");
    try (SafetensorsWriter writer = writer(path)) {
      writer.write("output", floats(1f, 2f));
      writer.write("codes", ByteBuffer.allocate(2));
      InvalidArgumentException e = assertThrows(InvalidArgumentException.class, writer::commit);
      assertEquals("codes", e.argument());
    }
    assertFalse(Files.exists(path));
  }

  @Test
  void aCommitReplaces() throws IOException {
    Path path = Files.writeString(folder.resolve("out.safetensors"), "before");
    try (SafetensorsWriter writer = SafetensorsWriter.to(path).open()) {
      writer.commit();
    }
    SafetensorsFile.open(path).close();
    assertOnlyFile(path);
  }

  private void assertOnlyFile(Path path) throws IOException {
    try (var files = Files.list(folder)) {
      assertEquals(java.util.List.of(path), files.toList());
    }
  }

  @Test
  void wrongDeclarationsAndWritesAreRefused() {
    Path path = folder.resolve("out.safetensors");
    SafetensorsWriter.Builder builder =
        SafetensorsWriter.to(path).tensor("a", SafetensorsDType.F32, 2);
    assertArgument("name", () -> builder.tensor("a", SafetensorsDType.F32));
    assertArgument("name", () -> builder.tensor("__metadata__", SafetensorsDType.F32));
    assertArgument("shape", () -> builder.tensor("b", SafetensorsDType.F32, -1));
    assertArgument("shape", () -> builder.tensor("b", SafetensorsDType.F64, 1L << 40, 1L << 40));
    assertArgument("shape", () -> builder.tensor("b", SafetensorsDType.F4, 3));
    try (SafetensorsWriter writer = writer(path)) {
      assertArgument("name", () -> writer.write("x", ByteBuffer.allocate(1)));
      assertArgument("bytes", () -> writer.write("codes", ByteBuffer.allocate(4)));
    }
  }

  private static void assertArgument(
      String argument, org.junit.jupiter.api.function.Executable call) {
    InvalidArgumentException e = assertThrows(InvalidArgumentException.class, call);
    assertEquals(argument, e.argument(), e::getMessage);
  }

  @Test
  void aFolderThatIsNotThereIsNamed() {
    Path path = folder.resolve("absent").resolve("out.safetensors");
    CheckpointException e = assertThrows(CheckpointException.class, () -> writer(path));
    assertTrue(e.getMessage().startsWith(path + ": cannot be written"), e::getMessage);
  }

  @Test
  void everyTypeOfTensorHasAGuise() {
    for (DType dtype : DType.values()) {
      assertEquals(8 * dtype.bytes(), SafetensorsDType.of(dtype).bits());
    }
  }
}
