package io.moe4j.autotune.isolation;

import com.google.common.base.Joiner;
import com.google.common.base.Splitter;
import com.google.common.collect.ImmutableList;
import com.google.common.io.MoreFiles;
import com.google.common.io.RecursiveDeleteOption;
import io.moe4j.MoeLayer;
import io.moe4j.autotune.profile.CallKind;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
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
 * Launches tactics in a child process with a layer of the same shape. When the child dies, the
 * tactic that it was in is to blame, and another child goes on with the rest.
 */
public final class IsolatedProbe {
  private static final String END_OF_OUTPUT = "";

  /** From the end of its output to the end of the process. */
  private static final int EXIT_SECONDS = 10;

  private final MoeLayer layer;
  private final CallKind kind;
  private final IsolationOptions options;

  /** A probe of a layer's calls of one kind. */
  public IsolatedProbe(MoeLayer layer, CallKind kind, IsolationOptions options) {
    this.layer = layer;
    this.kind = kind;
    this.options = options;
  }

  /**
   * Tries launches, one after the other; after a crash the same tactic is not tried again.
   *
   * @return the crashes
   * @throws ProbeException if a child cannot be started, dies before its first launch, or was asked
   *     to end (Ctrl-C reaches children too), which is no tactic's fault
   */
  public ImmutableList<Crash> run(List<Trial> trials) {
    ImmutableList.Builder<Crash> crashes = ImmutableList.builder();
    List<Trial> rest = new ArrayList<>(trials);
    while (!rest.isEmpty()) {
      Optional<Crash> crash = runChild(rest);
      if (crash.isEmpty()) {
        break;
      }
      crashes.add(crash.get());
      rest = rest.subList(rest.indexOf(crash.get().trial()), rest.size());
      rest = new ArrayList<>(rest);
      rest.removeIf(trial -> trial.tactic().equals(crash.get().trial().tactic()));
    }
    return crashes.build();
  }

  private Optional<Crash> runChild(List<Trial> trials) {
    try {
      Path folder = Files.createTempDirectory("moe4j-probe");
      try {
        return converse(start(folder, trials), trials);
      } finally {
        MoreFiles.deleteRecursively(folder, RecursiveDeleteOption.ALLOW_INSECURE);
      }
    } catch (IOException e) {
      throw new ProbeException("probe process cannot be started: " + e, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new ProbeException("probe process was interrupted", e);
    }
  }

  private Process start(Path folder, List<Trial> trials) throws IOException {
    ProbeRequest request =
        new ProbeRequest(
            layer.device().device().toString(),
            layer.device().options(),
            layer.spec(),
            layer.hasBias(),
            kind,
            ImmutableList.copyOf(trials));
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("-XX:-CreateCoredumpOnCrash");
    command.add("-XX:ErrorFile=" + folder.resolve("hs_err.log"));
    addProperties(command);
    command.addAll(options.jvmArguments());
    command.add("-cp");
    command.add(classPath());
    command.add(ProbeMain.class.getName());
    Process process =
        new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true).start();
    byte[] json = request.toJson();
    try (OutputStream input = process.getOutputStream()) {
      input.write(json);
    } catch (IOException ignored) {
      // It ended before it read anything; why, its output says.
      return process;
    }
    return process;
  }

  /** Where natives are unpacked to, and the like. */
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
                command.add("-D" + key + "=" + value);
              }
            });
  }

  /** Everything that this process can load from, by absolute paths. */
  private static String classPath() {
    List<String> entries = new ArrayList<>();
    for (String property : new String[] {"java.class.path", "jdk.module.path"}) {
      String value = System.getProperty(property, "");
      for (String entry : Splitter.on(File.pathSeparatorChar).omitEmptyStrings().split(value)) {
        entries.add(Path.of(entry).toAbsolutePath().toString());
      }
    }
    return Joiner.on(File.pathSeparatorChar).join(entries);
  }

  private Optional<Crash> converse(Process process, List<Trial> trials)
      throws InterruptedException {
    BlockingQueue<String> lines = new LinkedBlockingQueue<>();
    Thread reader = new Thread(() -> readLines(process, lines), "moe4j-probe-output");
    reader.setDaemon(true);
    reader.start();
    StringBuilder otherOutput = new StringBuilder();
    Optional<Trial> current = Optional.empty();
    boolean ready = false;
    try {
      while (true) {
        Duration timeout = ready ? options.tacticTimeout() : options.startTimeout();
        String line = lines.poll(timeout.toMillis(), TimeUnit.MILLISECONDS);
        if (line == null) {
          if (current.isEmpty()) {
            throw new ProbeException(
                "probe process did nothing for " + timeout + ": " + otherOutput);
          }
          return Optional.of(new Crash(current.get(), "hung for " + timeout.toSeconds() + " s"));
        } else if (line.equals(END_OF_OUTPUT)) {
          process.waitFor(EXIT_SECONDS, TimeUnit.SECONDS);
          break;
        } else if (line.equals(ProbeMain.PREFIX + ProbeMain.READY)) {
          ready = true;
        } else if (line.startsWith(ProbeMain.PREFIX + ProbeMain.BEGIN)) {
          current = Optional.of(trials.get(number(line, ProbeMain.BEGIN)));
        } else if (line.startsWith(ProbeMain.PREFIX + ProbeMain.END)) {
          current = Optional.empty();
        } else {
          otherOutput.append(line).append('\n');
        }
      }
    } finally {
      process.destroyForcibly();
    }
    int exitCode = process.waitFor();
    String cause = ExitCause.of(exitCode, otherOutput.toString());
    if (ExitCause.isRequest(exitCode)) {
      throw new ProbeException("probe process was asked to end: " + cause);
    }
    if (!ready) {
      throw new ProbeException(
          "probe process ended with " + cause + " before its first launch: " + otherOutput);
    }
    return current.map(trial -> new Crash(trial, cause));
  }

  private static int number(String line, String word) {
    return Integer.parseInt(line.substring(ProbeMain.PREFIX.length() + word.length()));
  }

  private static void readLines(Process process, BlockingQueue<String> lines) {
    try (BufferedReader output =
        new BufferedReader(
            new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
      output.lines().filter(line -> !line.isEmpty()).forEach(lines::add);
    } catch (IOException | UncheckedIOException e) {
      lines.add("its output cannot be read: " + e);
    }
    lines.add(END_OF_OUTPUT);
  }
}
