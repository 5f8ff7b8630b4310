package io.moe4j.cli;

import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** A command that does nothing but have commands. */
abstract class CommandGroup implements Runnable {
  @Spec private CommandSpec spec;

  /** Called when none of them is named. */
  @Override
  public final void run() {
    throw new ParameterException(
        spec.commandLine(),
        "expected a command: " + String.join(", ", spec.subcommands().keySet()));
  }
}
