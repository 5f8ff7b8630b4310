package io.moe4j.tests.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * The packaged application as its users run it: {@code java -jar moe4j.jar ...}; or, where the
 * property {@code moe4j.tests.application} names a class path that has it, from there.
 *
 * @param status exit status
 * @param out standard output
 * @param err standard error
 */
public record CliProcess(int status, String out, String err) {
  private static final Path JAR = Path.of("../moe-autotune/target/moe4j.jar");
  private static final long TIMEOUT_SECONDS = 120;

  /** Runs the application to its end. */
  public static CliProcess run(Path folder, Object... arguments)
      throws IOException, InterruptedException {
    return run(folder, command(arguments));
  }

  /** Runs a {@link #command} to its end. */
  public static CliProcess run(Path folder, List<String> command)
      throws IOException, InterruptedException {
    Path out = Files.createTempFile(folder, "stdout", ".txt");
    Path err = Files.createTempFile(folder, "stderr", ".txt");
    Process process =
        new ProcessBuilder(command)
            .redirectOutput(out.toFile())
            .redirectError(err.toFile())
            .start();
    if (!process.waitFor(TIMEOUT_SECONDS, TimeUnit.SECONDS)) {
      process.destroyForcibly();
      throw new AssertionError("no end after " + TIMEOUT_SECONDS + " s: " + command);
    }
    return new CliProcess(process.exitValue(), Files.readString(out), Files.readString(err));
  }

  /** The command line that runs the application; options of Java go after its first element. */
  public static List<String> command(Object... arguments) {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx512m",
                "-XX:TieredStopAtLevel=1"));
    command.addAll(application());
    for (Object argument : arguments) {
      command.add(argument.toString());
    }
    return command;
  }

  private static List<String> application() {
    String classPath = System.getProperty("moe4j.tests.application");
    if (classPath != null) {
      return List.of("-cp", classPath, "io.moe4j.cli.Main");
    }
    if (!Files.exists(JAR)) {
      throw new AssertionError(JAR + " is missing: run \"mvn verify\" from the top folder");
    }
    return List.of("-jar", JAR.toString());
  }
}
