package io.moe4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Command lines that are right or wrong as such. */
class MainTest {
  /** Every command by its words, groups of commands included. */
  static Stream<String> commands() {
    return Stream.concat(groups(), leaves());
  }

  static Stream<String> groups() {
    return Stream.of("plan", "cache");
  }

  static Stream<String> leaves() {
    return Main.commandLine().getSubcommands().entrySet().stream()
        .flatMap(
            command ->
                command.getValue().getSubcommands().isEmpty()
                    ? Stream.of(command.getKey())
                    : command.getValue().getSubcommands().keySet().stream()
                        .map(name -> command.getKey() + " " + name));
  }

  private static Cli help(String command) {
    return Cli.run((Object[]) (command + " --help").split(" "));
  }

  @Test
  void namesTheCommandsWhenThereIsNone() {
    Cli cli = Cli.run();
    assertEquals(2, cli.status());
    assertTrue(cli.error().startsWith("moe4j: expected a command: run, "), cli.err());
  }

  @ParameterizedTest
  @ValueSource(strings = {"frobnicate", "--frobnicate", "doctor --frobnicate", "doctor extra"})
  void refusesWhatItDoesNotKnow(String line) {
    Cli cli = Cli.run((Object[]) line.split(" "));
    assertEquals(2, cli.status());
    assertEquals("", cli.out());
    assertFalse(cli.error().isEmpty());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--device gpu       | found \"gpu\", expected \"auto\", \"cpu\" or \"cuda:N\"",
        "--device cuda:-1   | found \"cuda:-1\", expected \"auto\", \"cpu\" or \"cuda:N\"",
        "--device cuda:1.5  | found \"cuda:1.5\", expected",
        "--threads -1       | found \"-1\", expected 0 to 9999",
        "--threads many     | found \"many\", expected 0 to 9999",
        "--layer one        | 'one' is not an int",
        "--activations fp64  | found fp64, expected one of bf16, ",
        "--activations mxfp4 | found mxfp4, expected one of bf16, ",
        "--output-dtype f16 | expected one of [BF16, F32] (case-insensitive) but was 'f16'",
      })
  void namesTheOptionAndItsValues(String options, String sentence) {
    Cli cli = Cli.run((Object[]) ("run " + options).split(" +"));
    assertEquals(2, cli.status());
    assertTrue(cli.error().contains(options.substring(0, options.indexOf(' '))), cli.err());
    assertTrue(cli.error().contains(sentence), cli.err());
  }

  @Test
  void namesMissingOptions() {
    Cli cli = Cli.run("run", "--checkpoint", "somewhere", "--layer", "0");
    assertEquals(2, cli.status());
    assertEquals(
        "moe4j run: Missing required options: '--input=IN.safetensors', '--output=OUT.safetensors'"
            + " (see moe4j run --help)",
        cli.error());
  }

  @ParameterizedTest
  @MethodSource("groups")
  void namesTheCommandsOfAGroup(String group) {
    Cli cli = Cli.run(group);
    assertEquals(2, cli.status());
    assertTrue(cli.error().startsWith("moe4j " + group + ": expected a command: "), cli.err());
  }

  @ParameterizedTest
  @MethodSource("commands")
  void everyCommandHasHelpWithItsExitStatus(String command) {
    Cli cli = help(command);
    assertEquals(0, cli.status());
    assertEquals("", cli.err());
    assertTrue(cli.out().startsWith("Usage: moe4j " + command), cli.out());
    assertTrue(cli.out().contains("--debug"), cli.out());
    assertTrue(cli.out().contains("Exit status:"), cli.out());
  }

  @ParameterizedTest
  @MethodSource("leaves")
  void everyCommandPrintsForMachinesToo(String command) {
    assertTrue(help(command).out().contains("--json"));
  }

  @Test
  void saysItsVersion() {
    Cli cli = Cli.run("--version");
    assertEquals(0, cli.status());
    assertEquals("moe4j development", cli.out().strip());
  }
}
