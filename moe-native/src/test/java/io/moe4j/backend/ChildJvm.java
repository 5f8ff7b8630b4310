package io.moe4j.backend;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.moe4j.MoeDevice;
import io.moe4j.MoeException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * Opens a device in a JVM of its own: what a process loads, it keeps, so that a test of loading
 * needs a fresh one. Prints the device's model, or the exception.
 */
final class ChildJvm {
  private ChildJvm() {}

  /** Opens the device named by the first argument. */
  public static void main(String[] arguments) {
    try (MoeDevice device = MoeDevice.open(arguments[0])) {
      System.out.println("opened " + device.device());
      device.fallbackReason().ifPresent(reason -> System.out.println("fallback: " + reason));
    } catch (MoeException e) {
      System.out.println(e.getClass().getSimpleName() + ": " + e.getMessage());
    }
  }

  /** What {@link #main} printed, with these options of the JVM. CUDA devices are hidden from it. */
  static String open(String device, String... options) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of(options));
    command.addAll(List.of("-cp", classPath(), ChildJvm.class.getName(), device));
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    builder.environment().put("CUDA_VISIBLE_DEVICES", "");
    Process process = builder.start();
    String output = new String(process.getInputStream().readAllBytes(), UTF_8);
    if (!process.waitFor(60, TimeUnit.SECONDS) || process.exitValue() != 0) {
      throw new AssertionError("exit value " + process.exitValue() + ": " + output);
    }
    return output;
  }

  /** Surefire's own class path is in a manifest or a module path; this property is the whole. */
  private static String classPath() {
    return System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
  }
}
