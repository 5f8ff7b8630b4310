package io.moe4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.checkpoint.SafetensorsDType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What {@code run} says before there is a device; numerics are judged in moe-tests. */
class RunCommandTest {
  @TempDir Path folder;

  private Path checkpoint;
  private Path input;
  private Path output;

  @BeforeEach
  void write() throws IOException {
    checkpoint = SmallCheckpoint.write(folder.resolve("checkpoint"), 127);
    input =
        new TensorFile()
            .add("hidden_states", SafetensorsDType.BF16, 3, SmallCheckpoint.HIDDEN_SIZE, 1)
            .write(folder.resolve("in.safetensors"));
    output = folder.resolve("out.safetensors");
  }

  private Cli run(Path checkpoint, int layer, Path input, String... more) {
    List<Object> arguments =
        new ArrayList<>(
            List.of(
                "run",
                "--checkpoint",
                checkpoint,
                "--layer",
                layer,
                "--input",
                input,
                "--output",
                output));
    arguments.addAll(List.of(more));
    Cli cli = Cli.run(arguments.toArray());
    if (cli.status() != 0) {
      assertEquals("", cli.out());
      assertFalse(Files.exists(output));
    }
    return cli;
  }

  @Test
  void aMissingCheckpointIsAFailure() {
    Cli cli = run(folder.resolve("nowhere"), 1, input);
    assertEquals(1, cli.status());
    assertEquals("moe4j run: " + folder.resolve("nowhere") + ": no such folder", cli.error());
  }

  @Test
  void aLayerWithoutExpertsIsAWrongUse() {
    Cli cli = run(checkpoint, 0, input);
    assertEquals(2, cli.status());
    assertEquals(
        "moe4j run: --layer: found 0, expected one with experts: 1 (see moe4j run --help)",
        cli.error());
  }

  @Test
  void aMissingInputIsAFailure() {
    Cli cli = run(checkpoint, 1, folder.resolve("nothing.safetensors"));
    assertEquals(1, cli.status());
    assertEquals(
        "moe4j run: " + folder.resolve("nothing.safetensors") + ": no such file", cli.error());
  }

  @Test
  void anInputThatDoesNotFitIsAFailure() {
    Path wide =
        new TensorFile()
            .add("hidden_states", SafetensorsDType.F32, 3, 65, 0)
            .write(folder.resolve("wide.safetensors"));
    Cli cli = run(checkpoint, 1, wide);
    assertEquals(1, cli.status());
    assertTrue(cli.error().contains("found F32 [3, 65], expected F32 or BF16 [tokens, 64]"));
  }

  @Test
  void aGpuThatIsNotThereIsAFailureInOneSentence() {
    Cli cli = run(checkpoint, 1, input, "--device", "cuda:77");
    assertEquals(1, cli.status());
    assertTrue(cli.error().startsWith("moe4j run: cuda:77 is not available: "), cli.err());
  }

  @Test
  void anOutputFolderThatIsNotThereIsFoundBeforeTheWork() {
    output = folder.resolve("missing").resolve("out.safetensors");
    Cli cli = run(checkpoint, 1, input, "--device", "cuda:77");
    assertEquals(1, cli.status());
    assertEquals(
        "moe4j run: " + folder.resolve("missing") + ": no such folder for --output", cli.error());
  }
}
