package io.moe4j.autotune.isolation;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.base.Splitter;
import com.google.common.collect.ImmutableList;
import io.moe4j.Activation;
import io.moe4j.DeviceOptions;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMode;
import io.moe4j.RoutingSkew;
import io.moe4j.RoutingSpec;
import io.moe4j.Tactic;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.Candidate;
import io.moe4j.autotune.testing.FakeClock;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeRunner;
import io.moe4j.autotune.testing.FakeTactic;
import io.moe4j.autotune.testing.TestLayers;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.jar.JarOutputStream;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Real child processes, some of which die of a real signal. */
class IsolatedProbeTest {

  @Test
  void aTacticThatDiesIsToBlameAndTheRestGoesOn() {
    assertEquals(
        List.of("", "SIGSEGV", "", "SIGABRT", ""),
        probe(
            options(60, "default=CORRECT,segv=SEGFAULT,refused=REFUSED,abort=ABORT,last=CORRECT"),
            "default",
            "segv",
            "refused",
            "abort",
            "last"));
  }

  @Test
  void aTacticThatHangsIsKilledAndToBlame() {
    assertEquals(
        List.of("", "hung for 5 s", ""),
        probe(options(5, "default=CORRECT,hang=HANG"), "default", "hang", "default"));
  }

  @Test
  void aTacticThatFailsTheDeviceIsToBlameAndTheRestGoesOn() {
    assertEquals(
        List.of("", "io.moe4j.DeviceException: faulting: illegal address", ""),
        probe(
            options(60, "default=CORRECT,faulting=FAULTING,last=CORRECT"),
            "default",
            "faulting",
            "last"));
  }

  @ParameterizedTest
  @CsvSource({"INTERRUPTED,SIGTERM", "KILLED,SIGKILL"})
  void aProcessThatIsEndedFromOutsideIsNoTacticsFault(String behaviour, String signal) {
    ProbeException e =
        assertThrows(
            ProbeException.class,
            () -> probe(options(60, "default=CORRECT,victim=" + behaviour), "default", "victim"));
    assertTrue(e.getMessage().contains("ended from outside by " + signal), e.getMessage());
  }

  @Test
  void aProcessThatEndsBetweenLaunchesIsNoTacticsFault() throws Exception {
    MoeSpec spec = TestLayers.spec().build();
    try (MoeDevice device = new FakeGpu(FakeTactic.of("default", 1)).open();
        MoeLayer layer = device.prepare(spec, expert -> TestLayers.weights(spec));
        IsolatedProbe probe = probe(layer, options(60, "default=CORRECT"))) {
      assertEquals(Optional.empty(), probe.reasonAgainst(candidate("default"), 1));
      ProcessHandle child = children().findFirst().orElseThrow();
      child.destroyForcibly();
      child.onExit().get();
      ProbeException e =
          assertThrows(ProbeException.class, () -> probe.reasonAgainst(candidate("default"), 1));
      assertTrue(e.getMessage().contains("ended from outside by SIGKILL"), e.getMessage());
      assertEquals(Optional.empty(), probe.reasonAgainst(candidate("default"), 1));
    }
    assertEquals(0, children().filter(ProcessHandle::isAlive).count(), "children outlive it");
  }

  @Test
  void aProcessThatHangsBetweenLaunchesIsNoTacticsFault() throws Exception {
    MoeSpec spec = TestLayers.spec().build();
    try (MoeDevice device = new FakeGpu(FakeTactic.of("default", 1)).open();
        MoeLayer layer = device.prepare(spec, expert -> TestLayers.weights(spec));
        IsolatedProbe probe = probe(layer, options(5, "default=CORRECT"))) {
      assertEquals(Optional.empty(), probe.reasonAgainst(candidate("default"), 1));
      String child = Long.toString(children().findFirst().orElseThrow().pid());
      assertEquals(0, new ProcessBuilder("kill", "-STOP", child).start().waitFor());
      while (!Files.readString(Path.of("/proc", child, "stat")).contains(") T ")) {
        // The signal is on its way; a machine that is busy takes a while to stop all threads.
        Thread.sleep(10);
      }
      ProbeException e =
          assertThrows(ProbeException.class, () -> probe.reasonAgainst(candidate("default"), 1));
      assertTrue(e.getMessage().contains("did not begin"), e.getMessage());
      assertEquals(0, children().filter(ProcessHandle::isAlive).count(), "it is killed");
    }
  }

  private static Stream<ProcessHandle> children() {
    return ProcessHandle.current()
        .children()
        .filter(child -> child.info().commandLine().orElse("").contains("ProbeMain"));
  }

  @Test
  void aProcessThatCannotBeginIsNoTacticsFault() {
    ProbeException e = assertThrows(ProbeException.class, () -> probe(options(60, ""), "default"));
    assertTrue(e.getMessage().contains("before its first launch"), e.getMessage());
    assertTrue(e.getMessage().contains("there are no CUDA devices in tests"), e.getMessage());
  }

  /** As {@code java -p FOLDER -m MODULE} has it. */
  @Test
  void modulesInAFolderAreFound(@TempDir Path folder) throws Exception {
    String classPath = System.getProperty("java.class.path");
    int jars = 0;
    for (String entry : Splitter.on(File.pathSeparatorChar).split(classPath)) {
      Path jar = folder.resolve(jars++ + ".jar");
      if (entry.contains("moe-native")) {
        // Jars of a folder come in any order; the fake is to be the only back end.
        continue;
      }
      if (Files.isDirectory(Path.of(entry))) {
        pack(Path.of(entry), jar);
      } else {
        Files.copy(Path.of(entry), jar);
      }
    }
    try {
      System.setProperty("java.class.path", "");
      System.setProperty("jdk.module.path", folder.toString());
      assertEquals(List.of(""), probe(options(60, "default=CORRECT"), "default"));
    } finally {
      System.setProperty("java.class.path", classPath);
      System.clearProperty("jdk.module.path");
    }
  }

  private static void pack(Path classes, Path jar) throws IOException {
    try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar));
        Stream<Path> files = Files.walk(classes)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        out.putNextEntry(new ZipEntry(classes.relativize(file).toString()));
        Files.copy(file, out);
      }
    }
  }

  @Test
  void relativePathsNameTheSameFolders() {
    System.setProperty("org.bytedeco.javacpp.cachedir", "target/natives");
    try {
      IsolationOptions options =
          new IsolationOptions(
              Duration.ofMinutes(1),
              Duration.ofMinutes(1),
              ImmutableList.of("-XshowSettings:properties"));
      ProbeException e = assertThrows(ProbeException.class, () -> probe(options, "default"));
      String natives = Path.of("target/natives").toAbsolutePath().toString();
      assertTrue(
          e.getMessage().contains("org.bytedeco.javacpp.cachedir = " + natives), e.getMessage());
    } finally {
      System.clearProperty("org.bytedeco.javacpp.cachedir");
    }
  }

  @ParameterizedTest
  @CsvSource({"139,SIGSEGV", "134,SIGABRT", "137,SIGKILL", "144,signal 16", "3,exit code 3"})
  void exitCodesAreTranslated(int code, String cause) {
    assertEquals(cause, ExitCause.of(code, "something else"));
  }

  @Test
  void theSignalIsTheOneThatTheVirtualMachineReports() {
    assertEquals(
        "SIGFPE",
        ExitCause.of(134, "# A fatal error\n#\n#  SIGFPE (0x8) at pc=0x00007f, pid=1, tid=2\n"));
  }

  @ParameterizedTest
  @EnumSource
  void requestsAreReadBack(Activation activation) throws IOException {
    MoeSpec spec =
        MoeSpec.builder()
            .weightFormat(QuantFormat.MXFP4)
            .activationFormat(QuantFormat.MXFP8)
            .hiddenSize(64)
            .intermediateSize(96)
            .numExperts(16)
            .topK(3)
            .activation(activation)
            .routing(RoutingSpec.deepSeekV3(4, 2, 2.5f))
            .expertParallel(4, 8)
            .build();
    ProbeRequest request =
        new ProbeRequest(
            "cuda:1",
            new DeviceOptions(3, "avx2"),
            spec,
            true,
            new CallKind(
                RoutingMode.UNPACKED, QuantFormat.MXFP8, false, true, true, RoutingSkew.UNKNOWN));
    assertEquals(1, request.toJson().lines().count());
    assertEquals(request, ProbeRequest.parse(request.toJson()));
  }

  @Test
  void trialsAreReadBack() {
    Trial trial = new Trial("sm90.n64 x", 4096);
    assertEquals(trial, Trial.parse(trial.line()));
  }

  /** What each tactic's launch of one token ended in, "" for a good end. */
  private static List<String> probe(IsolationOptions options, String... tactics) {
    MoeSpec spec = TestLayers.spec().build();
    try (MoeDevice device = new FakeGpu(FakeTactic.of("default", 1)).open();
        MoeLayer layer = device.prepare(spec, expert -> TestLayers.weights(spec));
        IsolatedProbe probe = probe(layer, options)) {
      return Arrays.stream(tactics)
          .map(tactic -> probe.reasonAgainst(candidate(tactic), 1).orElse(""))
          .toList();
    }
  }

  private static IsolatedProbe probe(MoeLayer layer, IsolationOptions options) {
    return new IsolatedProbe(layer, CallKind.of(RoutingMode.PACKED), options);
  }

  private static Candidate candidate(String tactic) {
    return new Candidate(new FakeRunner("layer", new FakeClock()), new Tactic(tactic, 0));
  }

  private static IsolationOptions options(int tacticSeconds, String tactics) {
    return new IsolationOptions(
        Duration.ofMinutes(1),
        Duration.ofSeconds(tacticSeconds),
        ImmutableList.of(
            "-Xmx64m", "-XX:TieredStopAtLevel=1", "-D" + FakeGpu.CHILD_TACTICS + "=" + tactics));
  }
}
