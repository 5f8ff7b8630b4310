package io.moe4j.autotune.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import com.google.common.base.Splitter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A cache on real disks that are full or read-only, which other processes do not see. */
class FailingDiskTest {
  @TempDir private Path disk;

  @Test
  void aFullDiskKeepsEveryFinishedTuningAndNothingElse() throws Exception {
    Map<String, String> said =
        onPrivateDisk("mount -t tmpfs -o size=64k disk $DISK && $PROBE fill $DISK");
    assertTrue(said.get("failure").contains("No space left on device"), said::toString);
    assertTrue(Integer.parseInt(said.get("written")) > 3, said::toString);
    assertEquals(said.get("written"), said.get("readable"), said::toString);
    assertEquals("0", said.get("leftovers"), said::toString);
    assertEquals(null, said.get("damaged"), said::toString);
  }

  @Test
  void aReadOnlyDiskIsReadAndNothingElse() throws Exception {
    Map<String, String> said =
        onPrivateDisk(
            "mount -t tmpfs disk $DISK && $PROBE write $DISK"
                + " && mount -o remount,ro $DISK && $PROBE read $DISK");
    assertTrue(said.get("failure").contains("Read-only file system"), said::toString);
    assertEquals("3", said.get("readable"), said::toString);
    assertTrue(said.get("damaged").contains("0.json is not JSON; left in place"), said::toString);
  }

  /** Runs a shell script in a mount namespace of its own; what it says, by the first words. */
  private Map<String, String> onPrivateDisk(String script) throws Exception {
    if (!canMount()) {
      String skipped = "NOT TESTED: real disks that fail; none can be mounted in a namespace here";
      System.err.println(skipped);
      abort(skipped);
    }
    Process process = run(script);
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.exitValue(), output);
    return output
        .lines()
        .map(line -> Splitter.on(": ").limit(2).splitToList(line))
        .collect(Collectors.toMap(words -> words.get(0), words -> words.get(1)));
  }

  private boolean canMount() throws InterruptedException {
    try {
      return run("mount -t tmpfs disk $DISK").exitValue() == 0;
    } catch (IOException e) {
      return false;
    }
  }

  private Process run(String script) throws IOException, InterruptedException {
    ProcessBuilder builder =
        new ProcessBuilder("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script);
    builder.environment().put("DISK", disk.toString());
    builder
        .environment()
        .put(
            "PROBE",
            Path.of(System.getProperty("java.home"), "bin", "java")
                + " -Xmx64m -XX:TieredStopAtLevel=1 "
                + DiskProbe.class.getName());
    builder.environment().put("CLASSPATH", System.getProperty("java.class.path"));
    Process process = builder.redirectErrorStream(true).start();
    assertTrue(process.waitFor(60, TimeUnit.SECONDS), "ends in time");
    return process;
  }
}
