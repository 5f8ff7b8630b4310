package io.moe4j.autotune.isolation;

import com.google.common.base.Joiner;
import com.google.common.base.Splitter;
import com.google.common.io.MoreFiles;
import com.google.common.io.RecursiveDeleteOption;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * One child process: made ready, then given one launch after the other until one ends it. Confined
 * to one thread.
 */
final class ProbeProcess implements AutoCloseable {
  private static final String END_OF_OUTPUT = "";

  /** From the end of its input or output, or its kill, to the end of the process. */
  private static final int EXIT_SECONDS = 10;

  private final IsolationOptions options;
  private final Path folder;
  private final Process process;
  private final BlockingQueue<String> lines = new LinkedBlockingQueue<>();
  private final StringBuilder otherOutput = new StringBuilder();

  private ProbeProcess(IsolationOptions options, Path folder, Process process) {
    this.options = options;
    this.folder = folder;
    this.process = process;
    Thread reader = new Thread(this::readLines, "moe4j-probe-output");
    reader.setDaemon(true);
    reader.start();
  }

  /**
   * Starts a child that is ready for launches, to be closed by the caller.
   *
   * @throws ProbeException if it does not become ready
   */
  static ProbeProcess start(ProbeRequest request, IsolationOptions options) {
    try {
      Path folder = Files.createTempDirectory("moe4j-probe");
      Process child =
          new ProcessBuilder(command(folder, options))
              .directory(folder.toFile())
              .redirectErrorStream(true)
              .start();
      ProbeProcess probe = new ProbeProcess(options, folder, child);
      probe.send(request.toJson());
      probe.awaitReady();
      return probe;
    } catch (IOException e) {
      throw new ProbeException("probe process cannot be started: " + e, e);
    }
  }

  private static List<String> command(Path folder, IsolationOptions options) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("-XX:-CreateCoredumpOnCrash");
    command.add("-XX:ErrorFile=" + folder.resolve("hs_err.log"));
    addProperties(command);
    command.addAll(options.jvmArguments());
    command.add("-cp");
    command.add(classPath());
    command.add(ProbeMain.class.getName());
    return command;
  }

  /** Where natives are unpacked to, and the like; the child works in another folder. */
  private static void addProperties(List<String> command) {
    System.getProperties()
        .forEach(
            (name, value) -> {
              String key = name.toString();
              if (key.startsWith("moe4j.")
                  || key.startsWith("io.moe4j.")
                  || key.startsWith("org.bytedeco.")
                  || key.equals("java.library.path")
                  || key.equals("java.io.tmpdir")) {
                boolean paths = key.endsWith("path") || key.endsWith("dir");
                command.add("-D" + key + "=" + (paths ? join(absolute(value.toString())) : value));
              }
            });
  }

  /** Everything that this process can load from; of a folder of modules, those that are jars. */
  private static String classPath() {
    List<Path> entries = new ArrayList<>(absolute(System.getProperty("java.class.path", "")));
    for (Path entry : absolute(System.getProperty("jdk.module.path", ""))) {
      entries.add(entry);
      if (Files.isDirectory(entry)) {
        entries.add(entry.resolve("*"));
      }
    }
    return join(entries);
  }

  private static List<Path> absolute(String paths) {
    return Splitter.on(File.pathSeparatorChar)
        .omitEmptyStrings()
        .splitToStream(paths)
        .map(path -> Path.of(path).toAbsolutePath())
        .toList();
  }

  private static String join(List<Path> paths) {
    return Joiner.on(File.pathSeparatorChar).join(paths);
  }

  private void awaitReady() {
    boolean ready = false;
    try {
      for (String line = ""; !line.equals(ProbeMain.READY); ) {
        line =
            next(options.startTimeout())
                .orElseThrow(
                    () ->
                        new ProbeException(
                            "probe process did nothing for "
                                + options.startTimeout()
                                + ": "
                                + otherOutput));
        if (line.equals(END_OF_OUTPUT)) {
          throw new ProbeException(
              "probe process ended with "
                  + causeOfDeath()
                  + " before its first launch: "
                  + otherOutput);
        }
      }
      ready = true;
    } finally {
      if (!ready) {
        close();
      }
    }
  }

  /**
   * Tries a launch; after anything but its survival, only closing is left.
   *
   * @return what it died of; empty if it did not
   */
  Optional<String> attempt(Trial trial) {
    send(trial.line());
    boolean begun = false;
    while (true) {
      Optional<String> line = next(options.tacticTimeout());
      if (line.isEmpty()) {
        if (!begun) {
          throw new ProbeException(
              "probe process did not begin a launch for " + options.tacticTimeout());
        }
        return Optional.of("hung for " + options.tacticTimeout().toSeconds() + " s");
      }
      switch (line.get()) {
        case ProbeMain.BEGIN -> begun = true;
        case ProbeMain.END -> {
          return Optional.empty();
        }
        case END_OF_OUTPUT -> {
          String cause = causeOfDeath();
          if (!begun) {
            throw new ProbeException("probe process ended with " + cause + " between launches");
          }
          return Optional.of(cause);
        }
        default -> {}
      }
    }
  }

  private void send(String line) {
    try {
      process.getOutputStream().write((line + "\n").getBytes(StandardCharsets.UTF_8));
      process.getOutputStream().flush();
    } catch (IOException ignored) {
      // It has ended; why, its output says.
      return;
    }
  }

  /** The next line that counts, without its prefix; empty if there is none in time. */
  private Optional<String> next(Duration timeout) {
    try {
      while (true) {
        String line = lines.poll(timeout.toMillis(), TimeUnit.MILLISECONDS);
        if (line == null || line.equals(END_OF_OUTPUT)) {
          return Optional.ofNullable(line);
        }
        if (line.startsWith(ProbeMain.PREFIX)) {
          return Optional.of(line.substring(ProbeMain.PREFIX.length()));
        }
        otherOutput.append(line).append('\n');
      }
    } catch (InterruptedException e) {
      throw interrupted(e);
    }
  }

  private String causeOfDeath() {
    boolean ended;
    try {
      ended = process.waitFor(EXIT_SECONDS, TimeUnit.SECONDS);
      if (!ended) {
        process.destroyForcibly().waitFor();
      }
    } catch (InterruptedException e) {
      throw interrupted(e);
    }
    String cause = ExitCause.of(process.exitValue(), otherOutput.toString());
    if (ended && ExitCause.isFromOutside(process.exitValue())) {
      throw new ProbeException(
          "probe process was ended from outside by "
              + cause
              + (cause.equals("SIGKILL") ? ", as a system that is out of memory does" : ""));
    }
    return cause;
  }

  private static ProbeException interrupted(InterruptedException e) {
    Thread.currentThread().interrupt();
    return new ProbeException("probe process was interrupted", e);
  }

  private void readLines() {
    try (BufferedReader output =
        new BufferedReader(
            new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
      output.lines().filter(line -> !line.isEmpty()).forEach(lines::add);
    } catch (IOException | UncheckedIOException e) {
      lines.add("its output cannot be read: " + e);
    }
    lines.add(END_OF_OUTPUT);
  }

  /** Kills the child, wherever it is, and waits for its end a while. */
  @Override
  public void close() {
    process.destroyForcibly();
    try {
      // Until then it may write to the folder.
      process.waitFor(EXIT_SECONDS, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    try {
      MoreFiles.deleteRecursively(folder, RecursiveDeleteOption.ALLOW_INSECURE);
    } catch (IOException ignored) {
      // A folder of temporary files that the system cleans up.
      return;
    }
  }
}
