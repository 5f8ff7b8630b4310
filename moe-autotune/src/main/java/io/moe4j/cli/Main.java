package io.moe4j.cli;

import java.util.Locale;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/** The application's entry: its commands and the options that all of them share. */
@Command(
    name = "moe4j",
    description = "FP4 Mixture-of-Experts layers on this machine.",
    synopsisSubcommandLabel = "COMMAND",
    mixinStandardHelpOptions = true,
    scope = ScopeType.INHERIT,
    versionProvider = Version.class,
    exitCodeListHeading = "%nExit status:%n",
    exitCodeList = {"0:done", "1:failed; standard error says why in one line", "2:used wrongly"},
    subcommands = {
      RunCommand.class,
      InspectCommand.class,
      TuneCommand.class,
      PlanCommand.class,
      CacheCommand.class,
      DoctorCommand.class,
      DemoCommand.class
    })
public final class Main extends CommandGroup {
  @Option(
      names = "--debug",
      scope = ScopeType.INHERIT,
      description = "Print the stack trace of a failure.")
  private boolean debug;

  /** Runs a command and exits with its status. */
  public static void main(String[] args) {
    // Numbers are the same everywhere: they are read by scripts and compared by people.
    Locale.setDefault(Locale.Category.FORMAT, Locale.ROOT);
    // Warnings of the library are lines among the application's own.
    System.getProperties().putIfAbsent("java.util.logging.SimpleFormatter.format", "moe4j: %5$s%n");
    System.exit(commandLine().execute(args));
  }

  /** The application without a process around it: {@code execute} returns the exit status. */
  static CommandLine commandLine() {
    Main main = new Main();
    Failures failures = new Failures(() -> main.debug);
    return new CommandLine(main)
        .setUsageHelpAutoWidth(true)
        .setCaseInsensitiveEnumValuesAllowed(true)
        .setExecutionStrategy(failures::run)
        .setParameterExceptionHandler(failures)
        .setExecutionExceptionHandler(failures);
  }
}
