package io.moe4j.child;

import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.stream.Collectors.joining;
import static java.util.stream.Collectors.partitioningBy;

import io.moe4j.DType;
import io.moe4j.Device;
import io.moe4j.MoeDevice;
import io.moe4j.MoeException;
import io.moe4j.OwnedTensor;
import io.moe4j.TensorSpec;
import java.io.File;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * Opens a device in a JVM of its own, and passes a tensor of it through DLPack: what a process
 * loads, it keeps, so that a test of loading needs a fresh one. Prints what it opened, or the
 * exception; nothing else, for native access is enabled as the README says. In a package that no
 * module has, to be on the class path beside the modules.
 */
public final class ChildJvm {
  private ChildJvm() {}

  /** Opens the device named by the first argument. */
  public static void main(String[] arguments) {
    try (MoeDevice device = MoeDevice.open(arguments[0])) {
      System.out.println("opened " + device.device());
      int processors = Runtime.getRuntime().availableProcessors();
      if (device.device().equals(Device.CPU) && device.info().computeUnits() != processors) {
        System.out.println(device.info().computeUnits() + " threads for " + processors);
      }
      device.fallbackReason().ifPresent(reason -> System.out.println("fallback: " + reason));
      TensorSpec spec = TensorSpec.of(DType.F32, 1);
      try (OwnedTensor tensor = device.allocate(spec)) {
        device.importDlpack(spec, tensor.exportDlpack()).close();
      }
    } catch (MoeException e) {
      System.out.println(e.getClass().getSimpleName() + ": " + e.getMessage());
    }
  }

  /** What {@link #main} printed, with these options of the JVM. */
  public static String open(String device, String... options)
      throws IOException, InterruptedException {
    List<String> arguments = new ArrayList<>(List.of(options));
    arguments.addAll(
        List.of(
            "--enable-native-access=ALL-UNNAMED", "-cp", System.getProperty("java.class.path")));
    return run(arguments, device);
  }

  /** The same with everything but the tests on the module path. */
  public static String openWithModules(String device, String... options)
      throws IOException, InterruptedException {
    Map<Boolean, String> paths =
        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
            .collect(
                partitioningBy(path -> path.endsWith("test-classes"), joining(File.pathSeparator)));
    List<String> arguments = new ArrayList<>(List.of(options));
    arguments.addAll(
        List.of(
            "--enable-native-access=org.bytedeco.javacpp,io.moe4j.backend",
            "-p",
            paths.get(false),
            "--add-modules",
            "io.moe4j.backend",
            "-cp",
            paths.get(true)));
    return run(arguments, device);
  }

  /** Runs {@link #main} where no CUDA device is visible. */
  private static String run(List<String> arguments, String device)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(arguments);
    command.addAll(List.of(ChildJvm.class.getName(), device));
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    builder.environment().put("CUDA_VISIBLE_DEVICES", "");
    Process process = builder.start();
    String output = new String(process.getInputStream().readAllBytes(), UTF_8);
    if (process.waitFor() != 0) {
      throw new AssertionError("exit value " + process.exitValue() + ": " + output);
    }
    return output;
  }
}
