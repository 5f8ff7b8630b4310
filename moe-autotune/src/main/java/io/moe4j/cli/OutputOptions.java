package io.moe4j.cli;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.PrintWriter;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import picocli.CommandLine.Spec.Target;

/** How a command prints what it has to say. */
final class OutputOptions {
  private static final ObjectWriter JSON =
      JsonMapper.builder()
          .defaultPropertyInclusion(
              JsonInclude.Value.construct(JsonInclude.Include.NON_NULL, JsonInclude.Include.ALWAYS))
          .build()
          .writerWithDefaultPrettyPrinter();

  /** What a command has to say: a record for machines that can print itself for people. */
  interface Report {
    /** Prints the report for people. */
    void print(PrintWriter out);

    /** What is printed for machines: the record itself, unless it stands for something else. */
    default Object toJson() {
      return this;
    }
  }

  @Spec(Target.MIXEE)
  private CommandSpec command;

  @Option(names = "--json", description = "Print one JSON object instead of text.")
  private boolean json;

  /** Prints a report to standard output. */
  void print(Report report) {
    PrintWriter out = command.commandLine().getOut();
    if (json) {
      out.println(toJson(report));
    } else {
      report.print(out);
    }
    out.flush();
  }

  /** Prints a line to standard error, for people who wait; nothing for machines. */
  void note(String line) {
    if (!json) {
      command.commandLine().getErr().println(line);
      command.commandLine().getErr().flush();
    }
  }

  /** The command that prints, for exceptions that blame its use. */
  CommandLine commandLine() {
    return command.commandLine();
  }

  /** Where a command that shows its progress does so. */
  PrintWriter err() {
    return command.commandLine().getErr();
  }

  /** Whether the result is for machines, which watch no progress. */
  boolean forMachines() {
    return json;
  }

  private static String toJson(Report report) {
    try {
      return JSON.writeValueAsString(report.toJson());
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a report that is not JSON: " + report, e);
    }
  }
}
