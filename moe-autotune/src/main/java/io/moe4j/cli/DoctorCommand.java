package io.moe4j.cli;

import io.moe4j.DeviceInfo;
import io.moe4j.DeviceKind;
import io.moe4j.DeviceOptions;
import io.moe4j.MoeException;
import io.moe4j.spi.BackendDevice;
import io.moe4j.spi.BackendProvider;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.ServiceLoader;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;

/** Says what this machine offers, and why something is not there. Fails where no device works. */
@Command(
    name = "doctor",
    description = {
      "Say what this machine offers: platform, Java, native libraries, devices, and why CUDA is or "
          + "is not there.",
      "Fails where the CPU device does not work."
    })
final class DoctorCommand implements Callable<Integer> {
  @Mixin private OutputOptions output;

  record DoctorReport(String version, Platform platform, Java java, List<Backend> backends)
      implements OutputOptions.Report {

    @Override
    public void print(PrintWriter out) {
      line(out, "moe4j", version);
      line(out, "platform", platform.os() + ", " + platform.arch());
      line(out, "processors", platform.processors());
      line(out, "java", java.version() + ", " + java.vendor() + " " + java.vm());
      line(out, "java heap", "up to " + Units.bytes(java.maxHeapBytes()));
      backends.forEach(backend -> backend.print(out));
    }
  }

  record Platform(String os, String arch, int processors) {}

  record Java(String version, String vendor, String vm, long maxHeapBytes) {}

  /** A back end; {@code problem} says why there are no devices. */
  record Backend(String kind, String library, String problem, List<DeviceReport> devices) {
    void print(PrintWriter out) {
      if (library != null) {
        line(out, kind + " library", library);
      }
      devices.forEach(device -> device.print(out));
      if (problem != null) {
        line(out, kind, "not available: " + problem);
      }
    }
  }

  record DeviceReport(
      String device,
      String model,
      int computeUnits,
      String instructionSets,
      long memoryBytes,
      long lastLevelCacheBytes,
      Integer computeCapability,
      Integer driverVersion,
      String tacticTableHash) {

    static DeviceReport of(BackendDevice device) {
      DeviceInfo info = device.info();
      boolean cuda = info.device().kind() == DeviceKind.CUDA;
      return new DeviceReport(
          info.device().toString(),
          info.model(),
          info.computeUnits(),
          info.instructionSets(),
          info.memoryBytes(),
          info.lastLevelCacheBytes(),
          cuda ? info.computeCapability() : null,
          cuda ? info.driverVersion() : null,
          device.tacticTableHash());
    }

    void print(PrintWriter out) {
      boolean cuda = driverVersion != null;
      line(out, device, model);
      line(out, "", computeUnits + (cuda ? " multiprocessors" : " threads"));
      line(out, "", instructionSets);
      line(
          out,
          "",
          Units.bytes(memoryBytes)
              + " memory, "
              + Units.bytes(lastLevelCacheBytes)
              + " last-level cache");
      if (cuda) {
        line(out, "", "driver for CUDA " + driverVersion / 1000 + "." + driverVersion % 1000 / 10);
      }
      line(out, "", "tactic table " + tacticTableHash);
    }
  }

  private static void line(PrintWriter out, String name, Object value) {
    out.printf("%-12s %s%n", name, value);
  }

  @Override
  public Integer call() {
    List<Backend> backends = new ArrayList<>();
    for (BackendProvider provider : ServiceLoader.load(BackendProvider.class)) {
      backends.add(examine(provider));
    }
    if (backends.isEmpty()) {
      backends.add(
          new Backend("cpu", null, "no back end on the class path (add moe-native)", List.of()));
    }
    output.print(
        new DoctorReport(
            Version.current(),
            new Platform(
                System.getProperty("os.name") + " " + System.getProperty("os.version"),
                System.getProperty("os.arch"),
                Runtime.getRuntime().availableProcessors()),
            new Java(
                System.getProperty("java.version"),
                System.getProperty("java.vendor"),
                System.getProperty("java.vm.name"),
                Runtime.getRuntime().maxMemory()),
            backends));
    boolean cpuWorks =
        backends.stream()
            .flatMap(backend -> backend.devices().stream())
            .anyMatch(device -> device.device().equals("cpu"));
    return cpuWorks ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  private static Backend examine(BackendProvider provider) {
    String kind = provider.kind().name().toLowerCase(Locale.ROOT);
    List<DeviceReport> devices = new ArrayList<>();
    String library = null;
    String problem = null;
    try {
      library = provider.libraryVersion().isEmpty() ? null : provider.libraryVersion();
      int count = provider.deviceCount();
      for (int index = 0; index < count; index++) {
        try (BackendDevice device = provider.open(index, DeviceOptions.DEFAULT)) {
          devices.add(DeviceReport.of(device));
        }
      }
      problem = count == 0 ? provider.unavailableReason() : null;
    } catch (MoeException | LinkageError e) {
      problem = e.getMessage();
    }
    return new Backend(kind, library, problem, devices);
  }
}
