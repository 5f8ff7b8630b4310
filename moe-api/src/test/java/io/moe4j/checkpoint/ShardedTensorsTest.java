package io.moe4j.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.ClosedException;
import io.moe4j.testing.RawTensors;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Finding tensors in one file, in shards of an index, and in folders that are not what they say.
 */
final class ShardedTensorsTest {
  private static final String INDEX = "model.safetensors.index.json";

  @TempDir Path folder;
  private RawTensors raw;

  @BeforeEach
  void makeTensors() {
    raw = new RawTensors();
    for (int i = 0; i < 5; i++) {
      raw.addF32("t" + i, new float[] {i, -i}, 2);
    }
  }

  private void assertReads(Path path) {
    try (ShardedTensors tensors = ShardedTensors.open(path)) {
      assertEquals(Set.of("t0", "t1", "t2", "t3", "t4"), tensors.names());
      for (int i = 0; i < 5; i++) {
        assertEquals(i, tensors.tensor("t" + i).buffer().getFloat(0));
      }
      assertTrue(tensors.find("t5").isEmpty());
    }
  }

  @Test
  void oneFile() throws IOException {
    raw.write(folder.resolve("model.safetensors"));
    assertReads(folder);
    assertReads(folder.resolve("model.safetensors"));
  }

  @Test
  void shardsOfAnIndex() throws IOException {
    raw.writeSharded(folder, 3);
    assertReads(folder);
  }

  @Test
  void shardsWithoutAnIndex() throws IOException {
    raw.writeSharded(folder, 2);
    Files.delete(folder.resolve(INDEX));
    assertReads(folder);
  }

  @Test
  void anInterruptedReaderClosesNothingForOthers() throws IOException {
    raw.write(folder.resolve("model.safetensors"));
    try (ShardedTensors tensors = ShardedTensors.open(folder)) {
      Thread.currentThread().interrupt();
      try {
        assertEquals(1, tensors.tensor("t1").buffer().getFloat(0));
        assertTrue(Thread.currentThread().isInterrupted());
      } finally {
        Thread.interrupted();
      }
      assertEquals(2, tensors.tensor("t2").buffer().getFloat(0));
    }
  }

  @Test
  void shardsThatAreLinksToElsewhere(@TempDir Path elsewhere) throws IOException {
    raw.writeSharded(elsewhere, 2);
    for (String name : List.of(INDEX, RawTensors.shardName(0, 2), RawTensors.shardName(1, 2))) {
      Files.createSymbolicLink(folder.resolve(name), elsewhere.resolve(name));
    }
    assertReads(folder);
  }

  @Test
  void aMissingShardIsNamedWhenItIsNeeded() throws IOException {
    raw.writeSharded(folder, 3);
    Path missing = folder.resolve(RawTensors.shardName(1, 3));
    Files.delete(missing);
    try (ShardedTensors tensors = ShardedTensors.open(folder)) {
      assertEquals(0f, tensors.tensor("t0").buffer().getFloat(0));
      assertEquals(List.of(missing), tensors.missingShards());
      CheckpointException e = assertThrows(CheckpointException.class, () -> tensors.tensor("t1"));
      assertTrue(e.getMessage().contains(missing + ": tensor \"t1\""), e::getMessage);
      assertTrue(e.getMessage().contains("shard is missing"), e::getMessage);
    }
  }

  @Test
  void anIndexThatNamesAMissingTensor() throws IOException {
    raw.writeSharded(folder, 1);
    String shard = RawTensors.shardName(0, 1);
    Files.writeString(folder.resolve(INDEX), "{\"weight_map\": {\"ghost\": \"" + shard + "\"}}");
    try (ShardedTensors tensors = ShardedTensors.open(folder)) {
      CheckpointException e =
          assertThrows(CheckpointException.class, () -> tensors.tensor("ghost"));
      assertTrue(e.getMessage().contains("tensor \"ghost\": not in this shard"), e::getMessage);
      e = assertThrows(CheckpointException.class, () -> tensors.tensor("t0"));
      assertTrue(e.getMessage().contains("missing from the checkpoint"), e::getMessage);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "[]",
        "{}",
        "{\"weight_map\": 3}",
        "{\"weight_map\": {\"a\": 3}}",
        "{\"weight_map\": {\"a\": \"x.safetensors\", \"a\": \"y.safetensors\"}}",
        "{\"weight_map\": {\"a\": \"../x.safetensors\"}}",
        "{\"weight_map\": {\"a\": \"/etc/x.safetensors\"}}",
        "{\"weight_map\": {\"a\": \"..\\\\x.safetensors\"}}",
        "{\"weight_map\": {\"a\": \"x\\u0000.safetensors\"}}",
        "{\"weight_map\": {\"a\": \"config.json\"}}",
        "{\"weight_map\": {}} {}",
        "{\"weight_map\": {\"a\": \"x.safetensors\"}"
      })
  void indexesThatAreNone(String index) throws IOException {
    Files.writeString(folder.resolve(INDEX), index);
    CheckpointException e =
        assertThrows(CheckpointException.class, () -> ShardedTensors.open(folder));
    assertTrue(e.getMessage().startsWith(folder.resolve(INDEX) + ": "), e::getMessage);
  }

  @Test
  void theSameTensorInTwoFiles() throws IOException {
    raw.write(folder.resolve("a.safetensors"));
    raw.write(folder.resolve("b.safetensors"));
    CheckpointException e =
        assertThrows(CheckpointException.class, () -> ShardedTensors.open(folder));
    assertTrue(e.getMessage().contains("also in a.safetensors"), e::getMessage);
  }

  @Test
  void anEmptyFolder() {
    CheckpointException e =
        assertThrows(CheckpointException.class, () -> ShardedTensors.open(folder));
    assertTrue(e.getMessage().contains("no *.safetensors file"), e::getMessage);
  }

  @Test
  void buffersOutliveTheFilesAndNothingElseDoes() throws IOException {
    raw.writeSharded(folder, 2);
    ShardedTensors tensors = ShardedTensors.open(folder);
    StoredTensor stored = tensors.tensor("t3");
    ByteBuffer buffer = stored.buffer();
    tensors.close();
    tensors.close();
    System.gc();
    assertEquals(-3f, buffer.getFloat(4));
    assertThrows(ClosedException.class, stored::buffer);
    assertThrows(ClosedException.class, () -> tensors.tensor("t3"));
  }

  @Test
  void elementsAtAddressesThatDoNotSuitThemAreCopied() throws IOException {
    RawTensors odd = new RawTensors().add("odd", "U8", new byte[3], 3);
    odd.addF32("floats", new float[] {1.5f, 2.5f}, 2);
    odd.write(folder.resolve("model.safetensors"));
    try (ShardedTensors tensors = ShardedTensors.open(folder)) {
      ByteBuffer floats = tensors.tensor("floats").buffer();
      assertEquals(0, floats.alignmentOffset(0, 4));
      assertEquals(2.5f, floats.getFloat(4));
      assertTrue(floats.isReadOnly());
    }
  }
}
