package io.moe4j.tests.sharing;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Starts {@link Soak} in a process of its own, whose memory is nobody else's. */
class SoakTest {
  @TempDir Path folder;

  @Test
  void tenThousandRunsLeaveNothingBehind() throws Exception {
    Path out = folder.resolve("soak.txt");
    Process soak =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                // A heap that is resident from the start cannot grow.
                "-Xms64m",
                "-Xmx64m",
                "-XX:+AlwaysPreTouch",
                "-XX:+UseSerialGC",
                "-Dmoe4j.tests.device=" + System.getProperty("moe4j.tests.device", "cpu"),
                "-classpath",
                System.getProperty("java.class.path"),
                Soak.class.getName())
            .redirectErrorStream(true)
            .redirectOutput(out.toFile())
            .start();
    if (!soak.waitFor(2, TimeUnit.MINUTES)) {
      soak.destroyForcibly();
      throw new AssertionError("no end after two minutes: " + Files.readString(out));
    }
    List<String> lines = Files.readAllLines(out);
    assertEquals(0, soak.exitValue(), () -> String.join("\n", lines));
    // Before it, JDK 24 and later warn of native code.
    assertEquals("the same bits, nothing left", lines.get(lines.size() - 1));
  }
}
