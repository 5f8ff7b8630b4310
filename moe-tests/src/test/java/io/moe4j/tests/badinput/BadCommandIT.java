package io.moe4j.tests.badinput;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.DType;
import io.moe4j.tests.checkpoint.CheckpointFolder;
import io.moe4j.tests.checkpoint.CliProcess;
import io.moe4j.tests.checkpoint.SafetensorsBuilder;
import io.moe4j.tests.fixtures.Bytes;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Wrong command lines and files, given to the packaged application as a process: the exit status,
 * and one line on standard error that names what is wrong.
 */
class BadCommandIT {
  private static final int TOKENS = 3;
  private static final int HIDDEN = 64;
  private static final Pattern STACK_TRACE = Pattern.compile("(?m)^\\s+at |Exception");

  @TempDir static Path folder;

  private static CheckpointFolder gptOss;

  /** What a row may change of a good command line. */
  private interface Change {
    void apply(List<String> arguments) throws IOException;
  }

  /** One row: what is wrong, exit status, what the line has to name, the change that does it. */
  private record WrongCommand(String what, int status, String named, Change change) {
    @Override
    public String toString() {
      return what + " -> " + status + " \"" + named + "\"";
    }
  }

  @BeforeAll
  static void write() throws IOException {
    gptOss = CheckpointFolder.gptOss(Files.createDirectory(folder.resolve("gpt-oss")));
    CheckpointFolder.gptOss(Files.createDirectory(folder.resolve("truncated"))).resize(-100);
    good().write(folder.resolve("in.safetensors"));
  }

  static List<WrongCommand> commands() {
    return List.of(
        new WrongCommand("nothing at all", 2, "command", List::clear),
        new WrongCommand("an unknown command", 2, "walk", a -> a.set(0, "walk")),
        new WrongCommand("no input", 2, "--input", a -> removeOption(a, "--input")),
        new WrongCommand("no output", 2, "--output", a -> removeOption(a, "--output")),
        new WrongCommand("an unknown option", 2, "--fast", a -> a.add("--fast")),
        new WrongCommand("a layer in words", 2, "--layer", a -> set(a, "--layer", "one")),
        new WrongCommand("a dense layer", 2, "layer", a -> set(a, "--layer", "0")),
        new WrongCommand(
            "an unknown format", 2, "--activations", a -> set(a, "--activations", "fp3")),
        new WrongCommand("an unknown device", 2, "--device", a -> set(a, "--device", "gpu")),
        new WrongCommand("negative threads", 2, "--threads", a -> set(a, "--threads", "-1")),
        new WrongCommand(
            "an unknown type", 2, "--output-dtype", a -> set(a, "--output-dtype", "f8")),
        new WrongCommand("an absent GPU", 1, "cuda:99", a -> set(a, "--device", "cuda:99")),
        new WrongCommand("an unknown tactic", 2, "none.such", a -> set(a, "--tactic", "none.such")),
        new WrongCommand(
            "no checkpoint",
            1,
            "nowhere",
            a -> set(a, "--checkpoint", folder.resolve("nowhere").toString())),
        new WrongCommand(
            "a truncated checkpoint",
            1,
            "truncated",
            a -> set(a, "--checkpoint", folder.resolve("truncated").toString())),
        new WrongCommand(
            "no such input",
            1,
            "gone.safetensors",
            a -> set(a, "--input", folder.resolve("gone.safetensors").toString())),
        new WrongCommand(
            "an output folder that is not there",
            1,
            "gone",
            a -> set(a, "--output", folder.resolve("gone/out.safetensors").toString())),
        new WrongCommand(
            "NVFP4 activations without input scales",
            1,
            "NVFP4",
            a -> set(a, "--activations", "nvfp4")),
        new WrongCommand(
            "a configuration as input",
            1,
            "header",
            a -> set(a, "--input", gptOss.path().resolve("config.json").toString())));
  }

  static List<WrongCommand> inputs() {
    return List.of(
        input("no hidden states", "hidden_states", in -> in.remove("hidden_states")),
        input(
            "hidden states of another size",
            "hidden_states",
            in -> in.add("hidden_states", "F32", new byte[TOKENS * 32 * 4], TOKENS, 32)),
        input(
            "I32 hidden states",
            "hidden_states",
            in -> in.add("hidden_states", "I32", new byte[TOKENS * HIDDEN * 4], TOKENS, HIDDEN)),
        input(
            "NaN hidden states",
            "logits",
            in ->
                in.add(
                    "hidden_states", "F32", numbers(TOKENS * HIDDEN, Double.NaN), TOKENS, HIDDEN)),
        input(
            "ids without weights",
            "topk_weights",
            in -> {
              precomputed(in, 0, 1, 2, 3, 0, 1);
              in.remove("topk_weights");
            }),
        input("id 4 of 4", "topk_ids", in -> precomputed(in, 0, 1, 2, 4, 0, 1)),
        input("an id below 0", "topk_ids", in -> precomputed(in, 0, 1, -1, 3, 0, 1)),
        input("an expert twice", "topk_ids", in -> precomputed(in, 0, 1, 2, 2, 0, 1)),
        input(
            "logits of too few experts",
            "router_logits",
            in -> in.add("router_logits", "F32", new byte[TOKENS * 3 * 4], TOKENS, 3)),
        input(
            "NaN logits",
            "logits",
            in -> in.add("router_logits", "F32", numbers(TOKENS * 4, Double.NaN), TOKENS, 4)));
  }

  @ParameterizedTest
  @MethodSource({"commands", "inputs"})
  void isRefusedByName(WrongCommand wrong) throws Exception {
    Path output = folder.resolve("out.safetensors");
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "run",
                "--checkpoint",
                gptOss.path().toString(),
                "--layer",
                Integer.toString(gptOss.layer()),
                "--input",
                folder.resolve("in.safetensors").toString(),
                "--output",
                output.toString(),
                "--device",
                "cpu"));
    wrong.change.apply(arguments);
    CliProcess process = CliProcess.run(folder, arguments.toArray());
    assertEquals(wrong.status, process.status(), process.err());
    assertEquals(1, process.err().lines().count(), process.err());
    assertTrue(process.err().contains(wrong.named), process.err());
    assertFalse(STACK_TRACE.matcher(process.err()).find(), process.err());
    assertEquals("", process.out());
    assertFalse(Files.exists(output), "a failed run wrote its output");
  }

  private static WrongCommand input(
      String what, String named, Consumer<SafetensorsBuilder> change) {
    return new WrongCommand(
        what,
        1,
        named,
        arguments -> {
          SafetensorsBuilder input = good();
          change.accept(input);
          Path path = folder.resolve("wrong.safetensors");
          input.write(path);
          set(arguments, "--input", path.toString());
        });
  }

  private static SafetensorsBuilder good() {
    return new SafetensorsBuilder()
        .add("hidden_states", "F32", numbers(TOKENS * HIDDEN, 0.5), TOKENS, HIDDEN);
  }

  private static void precomputed(SafetensorsBuilder input, double... ids) {
    input.add("topk_ids", "I32", Bytes.of(DType.I32, ids), TOKENS, 2);
    input.add("topk_weights", "F32", numbers(TOKENS * 2, 0.5), TOKENS, 2);
  }

  private static byte[] numbers(int count, double value) {
    double[] values = new double[count];
    Arrays.fill(values, value);
    return Bytes.of(DType.F32, values);
  }

  private static void set(List<String> arguments, String option, String value) {
    removeOption(arguments, option);
    arguments.addAll(List.of(option, value));
  }

  private static void removeOption(List<String> arguments, String option) {
    int index = arguments.indexOf(option);
    if (index >= 0) {
      arguments.subList(index, index + 2).clear();
    }
  }
}
