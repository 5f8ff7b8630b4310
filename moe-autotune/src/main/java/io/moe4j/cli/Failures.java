package io.moe4j.cli;

import io.moe4j.MoeException;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.NoSuchFileException;
import java.util.function.BooleanSupplier;
import picocli.CommandLine;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.IExecutionExceptionHandler;
import picocli.CommandLine.IParameterExceptionHandler;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.RunLast;

/** Turns whatever goes wrong into one line on standard error and an exit status. */
final class Failures implements IParameterExceptionHandler, IExecutionExceptionHandler {
  private final BooleanSupplier debug;

  /** Prints stack traces too where {@code debug} says so when something fails. */
  Failures(BooleanSupplier debug) {
    this.debug = debug;
  }

  /** Runs the command that was parsed; an {@link Error} is a failure like any other. */
  int run(ParseResult parsed) {
    try {
      return new RunLast().execute(parsed);
    } catch (Error e) {
      ParseResult command = parsed;
      while (command.hasSubcommand()) {
        command = command.subcommand();
      }
      report(command.commandSpec().commandLine(), e);
      return ExitCode.SOFTWARE;
    }
  }

  @Override
  public int handleParseException(ParameterException e, String[] args) {
    CommandLine command = e.getCommandLine();
    String name = command.getCommandSpec().qualifiedName();
    print(command, name + ": " + e.getMessage() + " (see " + name + " --help)", e);
    return ExitCode.USAGE;
  }

  @Override
  public int handleExecutionException(Exception e, CommandLine command, ParseResult parsed) {
    report(command, e);
    return ExitCode.SOFTWARE;
  }

  private void report(CommandLine command, Throwable failure) {
    print(command, command.getCommandSpec().qualifiedName() + ": " + sentence(failure), failure);
  }

  private static String sentence(Throwable failure) {
    if (failure instanceof MoeException) {
      return failure.getMessage();
    }
    if (failure instanceof NoSuchFileException e) {
      return e.getFile() + ": no such file or directory";
    }
    if (failure instanceof AccessDeniedException e) {
      return e.getFile() + ": permission denied";
    }
    if (failure instanceof IOException) {
      return failure.getMessage();
    }
    if (failure instanceof OutOfMemoryError) {
      return "out of memory: " + failure.getMessage() + " (java -Xmx gives more)";
    }
    return "internal error: " + failure + " (--debug prints where)";
  }

  private void print(CommandLine command, String message, Throwable failure) {
    command
        .getErr()
        .println(message.lines().map(String::strip).reduce((a, b) -> a + " " + b).get());
    if (debug.getAsBoolean()) {
      failure.printStackTrace(command.getErr());
    }
    command.getErr().flush();
  }
}
