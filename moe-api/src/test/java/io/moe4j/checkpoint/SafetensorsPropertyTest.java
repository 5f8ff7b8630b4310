package io.moe4j.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.primitives.ImmutableLongArray;
import io.moe4j.testing.RawTensors;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.EdgeCasesMode;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.ShrinkingMode;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/** What is written is read; and no damage of a header is anything but an exception of ours. */
final class SafetensorsPropertyTest {
  private static Path folder;

  @BeforeContainer
  static void makeFolder() throws IOException {
    folder = Files.createTempDirectory("safetensors");
  }

  @AfterContainer
  static void deleteFolder() throws IOException {
    try (var files = Files.list(folder)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
    }
    Files.delete(folder);
  }

  /** A tensor to write. */
  record Drawn(String name, SafetensorsDType dtype, List<Integer> shape, long seed) {
    long[] extents() {
      return shape.stream().mapToLong(extent -> extent).toArray();
    }

    byte[] data() {
      long bits = dtype.bits();
      for (int extent : shape) {
        bits *= extent;
      }
      byte[] data = new byte[(int) (bits / 8)];
      new Random(seed).nextBytes(data);
      return data;
    }
  }

  @Provide
  Arbitrary<List<Drawn>> tensors() {
    Arbitrary<Drawn> drawn =
        Combinators.combine(
                Arbitraries.strings().all().ofMaxLength(12).filter(SafetensorsPropertyTest::isText),
                Arbitraries.of(SafetensorsDType.class),
                Arbitraries.integers().between(0, 5).list().ofMaxSize(4),
                Arbitraries.longs())
            .as(Drawn::new)
            // Of the types below a byte, only whole bytes can be written.
            .map(
                tensor ->
                    tensor.dtype().bits() >= 8
                        ? tensor
                        : new Drawn(tensor.name(), tensor.dtype(), List.of(2, 4), tensor.seed()));
    return drawn.list().uniqueElements(Drawn::name).ofMaxSize(8);
  }

  /** Lone surrogates have no UTF-8. */
  private static boolean isText(String name) {
    return !name.equals("__metadata__")
        && name.codePoints().noneMatch(c -> Character.getType(c) == Character.SURROGATE);
  }

  @Property(tries = 60, edgeCases = EdgeCasesMode.NONE)
  void whatIsWrittenIsRead(
      @ForAll("tensors") List<Drawn> drawn, @ForAll @IntRange(min = 1, max = 9) int pieces)
      throws IOException {
    Path path = folder.resolve("round.safetensors");
    SafetensorsWriter.Builder builder = SafetensorsWriter.to(path).metadata("pieces", "" + pieces);
    drawn.forEach(tensor -> builder.tensor(tensor.name(), tensor.dtype(), tensor.extents()));
    try (SafetensorsWriter writer = builder.open()) {
      for (Drawn tensor : drawn) {
        writeInPieces(writer, tensor, pieces);
      }
      writer.commit();
    }
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertEquals(Map.of("pieces", "" + pieces), file.metadata());
      assertEquals(drawn.size(), file.tensors().size());
      for (Drawn tensor : drawn) {
        StoredTensor stored = file.tensor(tensor.name());
        assertEquals(tensor.dtype(), stored.dtype());
        assertEquals(ImmutableLongArray.copyOf(tensor.extents()), stored.shape());
        assertEquals(ByteBuffer.wrap(tensor.data()), stored.buffer());
      }
    }
  }

  private static void writeInPieces(SafetensorsWriter writer, Drawn tensor, int pieces) {
    ByteBuffer data = ByteBuffer.wrap(tensor.data());
    int piece = data.remaining() / pieces + 1;
    while (data.hasRemaining()) {
      int size = Math.min(piece, data.remaining());
      writer.write(tensor.name(), data.slice(data.position(), size));
      data.position(data.position() + size);
    }
  }

  @Property(tries = 1500, seed = "20260101", shrinking = ShrinkingMode.OFF)
  void damageIsRefusedOrHarmless(@ForAll long seed) throws IOException {
    byte[] file = validFile();
    Random random = new Random(seed);
    int headerEnd = 8 + (int) ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong(0);
    for (int flips = 1 + random.nextInt(4); flips > 0; flips--) {
      file[random.nextInt(headerEnd)] ^= (byte) (1 << random.nextInt(8));
    }
    assertRefusedOrConsistent(file);
  }

  @Property(tries = 1000, seed = "20260102", shrinking = ShrinkingMode.OFF)
  void splicesAreRefusedOrHarmless(@ForAll long seed) throws IOException {
    byte[] file = validFile();
    Random random = new Random(seed);
    String tokens = "{}[]\",:0123456789-+.eE \\u\n\0";
    int headerEnd = 8 + (int) ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong(0);
    for (int splices = 1 + random.nextInt(6); splices > 0; splices--) {
      int at = 8 + random.nextInt(headerEnd - 8);
      file[at] = (byte) tokens.charAt(random.nextInt(tokens.length()));
    }
    assertRefusedOrConsistent(file);
  }

  private static byte[] validFile() throws IOException {
    Path path = folder.resolve("valid.safetensors");
    new RawTensors()
        .addF32("model.layers.0.a", new float[] {1, 2, 3}, 3)
        .addBf16("b", new float[] {4, 5}, 1, 2)
        .add("codes", "U8", new byte[] {1, 2, 3, 4, 5, 6}, 3, 2)
        .add("scales", "F8_E4M3", new byte[] {1}, 1, 1)
        .write(path);
    return Files.readAllBytes(path);
  }

  /** Whatever a damaged file still says has to lie within it, and to be readable. */
  private static void assertRefusedOrConsistent(byte[] bytes) throws IOException {
    Path path = Files.write(folder.resolve("damaged.safetensors"), bytes);
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      long total = 0;
      for (StoredTensor tensor : file.tensors().values()) {
        assertEquals(tensor.bytes(), tensor.buffer().remaining());
        total += tensor.bytes();
      }
      assertTrue(total <= bytes.length);
    } catch (CheckpointException e) {
      assertFalse(e.getMessage().isEmpty());
    }
  }

  @Property(tries = 100)
  void everyNumberOfATensorIsKept(@ForAll long seed) throws IOException {
    Map<String, float[]> values = new LinkedHashMap<>();
    RawTensors raw = new RawTensors();
    Random random = new Random(seed);
    for (int i = 0; i < 3; i++) {
      float[] drawn = new float[random.nextInt(5)];
      for (int j = 0; j < drawn.length; j++) {
        drawn[j] = Float.intBitsToFloat(random.nextInt());
      }
      values.put("t" + i, drawn);
      raw.addF32("t" + i, drawn, drawn.length);
    }
    try (SafetensorsFile file =
        SafetensorsFile.open(raw.write(folder.resolve("numbers.safetensors")))) {
      values.forEach(
          (name, expected) -> {
            ByteBuffer found = file.tensor(name).buffer();
            for (int j = 0; j < expected.length; j++) {
              assertEquals(Float.floatToRawIntBits(expected[j]), found.getInt(4 * j));
            }
          });
    }
  }
}
