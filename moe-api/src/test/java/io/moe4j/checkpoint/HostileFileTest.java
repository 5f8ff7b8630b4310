package io.moe4j.checkpoint;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_16LE;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.testing.RawTensors;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Files that lie: each is refused with the file's name and what is wrong, at once. */
final class HostileFileTest {
  @TempDir Path folder;

  /** A header, the bytes that follow it, and a part of the message. */
  record Hostile(String what, String header, int dataBytes, String message) {
    @Override
    public String toString() {
      return what;
    }
  }

  static Stream<Hostile> headers() {
    return Stream.of(
        header("nothing", "", "header's length: found 0"),
        header("an array", "[1, 2]", "found \"[\", expected START_OBJECT"),
        header("a number", "12", "expected START_OBJECT"),
        header("an open brace", "{\"a", "not valid JSON"),
        header("an unquoted name", "{a: 1}", "not valid JSON"),
        header("something after the end", "{} {}", "expected nothing after the closing brace"),
        header("a tensor that is a number", "{\"a\": 3}", "tensor \"a\": found \"3\""),
        header("a tensor that is null", "{\"a\": null}", "tensor \"a\": found \"null\""),
        header("the same tensor twice", "{" + u8("a") + "," + u8("a") + "}", "Duplicate"),
        header(
            "the same field twice", "{\"a\": {\"dtype\": \"U8\", \"dtype\": \"I8\"}}", "Duplicate"),
        header(
            "no dtype",
            "{\"a\": {\"shape\": [1], \"data_offsets\": [0, 1]}}",
            "\"a\" has no dtype"),
        header(
            "no shape",
            "{\"a\": {\"dtype\": \"U8\", \"data_offsets\": [0, 1]}}",
            "\"a\" has no shape"),
        header("no offsets", "{\"a\": {\"dtype\": \"U8\", \"shape\": [1]}}", "has no data_offsets"),
        tensor("an unknown type", "U9", "[1]", "[0, 1]", "dtype: found \"U9\""),
        tensor("a type in lower case", "u8", "[1]", "[0, 1]", "dtype: found \"u8\""),
        header(
            "a type that is a number",
            "{\"a\": {\"dtype\": 8, \"shape\": [1], \"data_offsets\": [0, 1]}}",
            "\"a\": dtype: found \"8\""),
        tensor("a negative extent", "U8", "[-1]", "[0, 1]", "shape: found \"-1\""),
        tensor("an extent of 1.0", "U8", "[1.0]", "[0, 1]", "shape: found \"1.0\""),
        tensor("an extent of 1e0", "U8", "[1e0]", "[0, 1]", "shape: found \"1e0\""),
        tensor("an extent of 2^64", "U8", "[18446744073709551616]", "[0, 1]", "shape: found"),
        tensor("an extent in quotes", "U8", "[\"1\"]", "[0, 1]", "shape: found \"1\""),
        tensor("a nested shape", "U8", "[[1]]", "[0, 1]", "shape: found \"[\""),
        tensor("a shape without end", "U8", "[1", "[0, 1]", "shape: found \"data_offsets\""),
        tensor("a shape of 2^80 bytes", "U8", "[1099511627776, 1099511627776]", "[0, 1]", "2^60"),
        tensor("a shape that overflows to 1", "F64", "[2305843009213693952]", "[0, 0]", "2^60"),
        tensor("too few bytes for the shape", "F32", "[1]", "[0, 1]", "data_offsets: found [0, 1]"),
        tensor("too many bytes for the shape", "BF16", "[3]", "[0, 8]", "expected 48 bits"),
        tensor("half a byte", "F4", "[3]", "[0, 1]", "expected 12 bits"),
        tensor("a negative offset", "U8", "[1]", "[-1, 0]", "data_offsets: found \"-1\""),
        tensor("offsets in reverse", "U8", "[1]", "[1, 0]", "data_offsets: found [1, 0]"),
        tensor("an offset of 2^64", "U8", "[1]", "[0, 18446744073709551616]", "data_offsets"),
        tensor("one offset", "U8", "[1]", "[0]", "data_offsets"),
        tensor("three offsets", "U8", "[1]", "[0, 1, 2]", "data_offsets: found \"2\""),
        tensor("the end past the file", "U8", "[2]", "[0, 2]", "is it truncated?"),
        tensor(
            "the end far past the file",
            "U8",
            "[1152921504606846975]",
            "[0, 1152921504606846975]",
            "is it truncated?"),
        tensor("a hole at the start", "U8", "[1]", "[1, 2]", "a hole before it"),
        new Hostile("data that is nobody's", "{" + u8("a") + "}", 2, "data: found 2 bytes"),
        new Hostile(
            "an overlap",
            "{" + entry("a", "[2]", 0, 2) + "," + entry("b", "[2]", 1, 2) + "}",
            3,
            "tensor \"b\": data_offsets: found an overlap"),
        new Hostile(
            "the same bytes twice",
            "{" + entry("a", "[2]", 0, 2) + "," + entry("b", "[2]", 0, 2) + "}",
            2,
            "an overlap"),
        new Hostile(
            "a hole in the middle",
            "{" + entry("a", "[1]", 0, 1) + "," + entry("b", "[1]", 2, 1) + "}",
            3,
            "tensor \"b\": data_offsets: found a hole"),
        header("metadata that is a list", "{\"__metadata__\": []}", "__metadata__: found \"[\""),
        header("metadata of numbers", "{\"__metadata__\": {\"a\": 1}}", "__metadata__"),
        header(
            "arrays in arrays",
            "{\"a\": {\"x\": " + "[".repeat(100_000),
            "beyond bounds: Document nesting depth"),
        header(
            "objects in objects",
            "{\"a\":".repeat(100_000),
            "beyond bounds: Document nesting depth"),
        header(
            "a number of 10000 digits",
            "{\"a\": {\"x\": " + "9".repeat(10_000),
            "beyond bounds: Number"),
        header(
            "a name of a megabyte", "{\"" + "n".repeat(1 << 20) + "\": 1}", "beyond bounds: Name"),
        header("control characters", "{\"a\u0001\": 1}", "not valid JSON"));
  }

  private static Hostile header(String what, String header, String message) {
    return new Hostile(what, header, 1, message);
  }

  private static Hostile tensor(
      String what, String dtype, String shape, String offsets, String message) {
    return header(
        what,
        String.format(
            "{\"a\": {\"dtype\": \"%s\", \"shape\": %s, \"data_offsets\": %s}}",
            dtype, shape, offsets),
        message);
  }

  private static String u8(String name) {
    return entry(name, "[1]", 0, 1);
  }

  private static String entry(String name, String shape, long begin, long bytes) {
    return RawTensors.entry(name, "U8", shape, begin, bytes);
  }

  @ParameterizedTest
  @MethodSource("headers")
  void headerIsRefused(Hostile hostile) throws IOException {
    Path path = folder.resolve("hostile.safetensors");
    RawTensors.writeFile(path, hostile.header(), new byte[hostile.dataBytes()]);
    assertRefused(path, hostile.message());
  }

  private static CheckpointException assertRefused(Path path, String message) {
    CheckpointException e =
        Assertions.assertTimeout(
            Duration.ofSeconds(10),
            () -> assertThrows(CheckpointException.class, () -> SafetensorsFile.open(path)));
    assertTrue(e.getMessage().startsWith(path + ": "), e::getMessage);
    assertTrue(e.getMessage().contains(message), e::getMessage);
    assertFalse(e.getMessage().contains("\n"), e::getMessage);
    assertTrue(e.getMessage().length() < 2000, e::getMessage);
    return e;
  }

  @Test
  void headersAsLongAsTheyClaimOrNot() throws IOException {
    for (long claim : new long[] {1L << 60, -1, Long.MIN_VALUE, 100_000_001, 17, 1, 0}) {
      ByteBuffer file = ByteBuffer.allocate(8 + 16).order(ByteOrder.LITTLE_ENDIAN);
      file.putLong(claim).put("{}              ".getBytes(UTF_8));
      Path path = Files.write(folder.resolve("claim.safetensors"), file.array());
      assertRefused(path, "header's length: found " + Long.toUnsignedString(claim));
    }
  }

  @Test
  void aHeaderOfGigabytesIsNotReadThoughTheFileHasThem() throws IOException {
    Path path = folder.resolve("sparse.safetensors");
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
      file.write(new byte[] {0, 0, 0, 0, 1, 0, 0, 0, '{'});
      file.setLength(8L << 30);
    }
    assertRefused(path, "header's length: found 4294967296, expected 2 to 100000000");
  }

  @Test
  void filesShorterThanTheirLength() throws IOException {
    for (int bytes = 0; bytes < 8; bytes++) {
      Path path = Files.write(folder.resolve("short.safetensors"), new byte[bytes]);
      assertRefused(path, "found " + bytes + " bytes");
    }
  }

  @Test
  void everyTruncationOfAFileIsRefused() throws IOException {
    Path path = folder.resolve("whole.safetensors");
    new RawTensors()
        .addF32("a", new float[] {1, 2}, 2)
        .addBf16("b", new float[] {3}, 1)
        .write(path);
    byte[] whole = Files.readAllBytes(path);
    SafetensorsFile.open(path).close();
    for (int bytes = 0; bytes < whole.length; bytes++) {
      Files.write(path, java.util.Arrays.copyOf(whole, bytes));
      assertRefused(path, "found");
    }
  }

  @Test
  void otherEncodingsAreRefused() throws IOException {
    Path latin = folder.resolve("latin.safetensors");
    writeBytes(latin, "{\"caf\u00e9\": 1}".getBytes(ISO_8859_1));
    assertRefused(latin, "not valid UTF-8");
    Path wide = folder.resolve("wide.safetensors");
    writeBytes(wide, "{\"a\": 1}".getBytes(UTF_16LE));
    assertRefused(wide, "header");
    Path overlong = folder.resolve("overlong.safetensors");
    writeBytes(overlong, new byte[] {'{', '"', (byte) 0xC0, (byte) 0x80, '"', ':', '1', '}'});
    assertRefused(overlong, "not valid UTF-8");
    Path surrogate = folder.resolve("surrogate.safetensors");
    writeBytes(
        surrogate, new byte[] {'{', '"', (byte) 0xED, (byte) 0xA0, (byte) 0x80, '"', ':', '1'});
    assertRefused(surrogate, "not valid UTF-8");
  }

  private static void writeBytes(Path path, byte[] header) throws IOException {
    ByteBuffer file = ByteBuffer.allocate(8 + header.length).order(ByteOrder.LITTLE_ENDIAN);
    Files.write(path, file.putLong(header.length).put(header).array());
  }

  @Test
  void whatIsNoFile() throws IOException {
    assertRefused(folder.resolve("absent.safetensors"), "no such file");
    assertRefused(Files.createDirectory(folder.resolve("folder")), "expected a file");
  }

  @Test
  void aFileThatShrinksUnderneathIsAnException() throws IOException {
    Path path = folder.resolve("shrinks.safetensors");
    new RawTensors().add("a", "U8", new byte[1 << 16], 1 << 16).write(path);
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      Files.write(path, new byte[10]);
      CheckpointException e =
          assertThrows(CheckpointException.class, () -> file.tensor("a").buffer());
      assertTrue(e.getMessage().contains("cannot be mapped"), e::getMessage);
    }
  }

  @Test
  void whatTheFormatAllowsIsRead() throws IOException {
    Path path = folder.resolve("fine.safetensors");
    RawTensors.writeFile(
        path,
        "{\"__metadata__\": {\"format\": \"pt\"}, "
            + entry("empty", "[0, 7]", 0, 0)
            + ", \"scalar\": {\"shape\": [], \"data_offsets\": [2, 6], \"dtype\": \"F32\","
            + " \"note\": {\"a\": [1, {}]}}, "
            + RawTensors.entry("nibbles", "F4", "[2, 2]", 0, 2)
            + ", \"\": {\"shape\": [0], \"data_offsets\": [6, 6], \"dtype\": \"I64\"}}      ",
        new byte[] {1, 2, 0, 0, (byte) 0x80, 0x3F});
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertEquals("pt", file.metadata().get("format"));
      assertEquals(4, file.tensors().size());
      assertEquals(1f, file.tensor("scalar").scalar());
      assertEquals(0, file.tensor("empty").buffer().remaining());
      assertEquals(2, file.tensor("nibbles").buffer().get(1));
      CheckpointException e = assertThrows(CheckpointException.class, () -> file.tensor("x"));
      assertTrue(e.getMessage().contains("tensor \"x\": not in this file"), e::getMessage);
    }
  }
}
