package io.moe4j.tests.tuning;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.moe4j.tests.checkpoint.CheckpointFolder;
import io.moe4j.tests.checkpoint.CliProcess;
import io.moe4j.tests.fixtures.TestDevice;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * The packaged application's {@code tune}, {@code plan} and {@code cache} on a small checkpoint and
 * the tests' device.
 */
class TuneIT {
  private static final JsonMapper JSON = JsonMapper.builder().build();
  private static final String DEVICE = TestDevice.name();
  private static final int THREADS = 1;

  @TempDir Path folder;

  private CheckpointFolder checkpoint;
  private Path cache;

  @BeforeEach
  void write() throws IOException {
    checkpoint = CheckpointFolder.gptOss(Files.createDirectory(folder.resolve("checkpoint")));
    cache = folder.resolve("cache");
  }

  @Test
  void tunesIsolatedAndASecondStartProfilesNothing() throws Exception {
    Path plan = folder.resolve("plan.json");
    Path page = folder.resolve("page.html");
    JsonNode first = json(tune("--tokens", "1,16", "--isolate", "--plan", plan, "--report", page));
    assertEquals(2, first.get("parts").get(0).get("buckets").size());
    for (JsonNode bucket : first.get("parts").get(0).get("buckets")) {
      assertEquals("tuned", bucket.get("status").textValue(), first.toString());
      assertTrue(bucket.get("speedup").doubleValue() >= 1, bucket.toString());
    }
    assertTrue(first.get("launches").intValue() > 0);
    assertEquals(0, first.get("blocked").size(), first.toString());
    assertEquals(0, first.get("problems").size(), first.toString());
    assertTrue(Files.readString(page).contains("</html>"));

    assertEquals(0, json(tune("--tokens", "1,16")).get("launches").intValue());

    // Another machine of the kind takes the plan and measures nothing either.
    cache = folder.resolve("elsewhere");
    JsonNode imported =
        json("plan", "import", plan, "--device", DEVICE, "--threads", THREADS, "--cache", cache);
    assertTrue(imported.get("applied").intValue() >= 2, imported.toString());
    assertEquals(0, json(tune("--tokens", "1,16")).get("launches").intValue());
  }

  /** As on a run-time image that was made of the modules that a server names itself. */
  @Test
  void tunesWithoutAFlightRecorder() throws Exception {
    List<String> command = CliProcess.command(tune("--tokens", "1").toArray());
    command.add(1, "--limit-modules=java.logging,java.management,java.xml,jdk.unsupported");
    CliProcess process = CliProcess.run(folder, command);
    assertEquals(0, process.status(), process.err() + process.out());
  }

  @Test
  @Timeout(300)
  void ctrlCKeepsWhatIsFinished() throws Exception {
    // A build in the background of a shell ignores Ctrl-C, and so would what it starts.
    List<String> command = new ArrayList<>(List.of("env", "--default-signal=INT"));
    command.addAll(CliProcess.command(tune("--max-tokens", "8192", "--budget", "10m").toArray()));
    Process process =
        new ProcessBuilder(command).redirectOutput(folder.resolve("out.txt").toFile()).start();
    StringBuilder progress = new StringBuilder();
    try (BufferedReader lines =
        new BufferedReader(
            new InputStreamReader(process.getErrorStream(), StandardCharsets.UTF_8))) {
      for (String line = ""; line != null && !line.startsWith("  2 tokens: "); ) {
        progress.append(line).append('\n');
        line = lines.readLine();
      }
      new ProcessBuilder("kill", "-INT", Long.toString(process.pid())).start().waitFor();
      lines.lines().forEach(line -> progress.append(line).append('\n'));
    }
    assertTrue(process.waitFor(180, TimeUnit.SECONDS), "ends soon");
    String out = Files.readString(folder.resolve("out.txt"));
    assertTrue(out.contains("interrupted after "), out + progress);
    assertTrue(out.contains("kept in " + cache), out);
    assertTrue(progress.toString().contains("  8192 tokens: skipped"), progress::toString);

    JsonNode again = json(tune("--tokens", "1,2"));
    assertEquals(0, again.get("launches").intValue(), again.toString());
    assertEquals(0, json("cache", "verify", "--cache", cache).get("damage").size());
  }

  private List<Object> tune(Object... more) {
    List<Object> arguments =
        new ArrayList<>(
            List.of(
                "tune",
                "--checkpoint",
                checkpoint.path(),
                "--layer",
                checkpoint.layer(),
                "--device",
                DEVICE,
                "--threads",
                THREADS,
                "--cache",
                cache));
    arguments.addAll(List.of(more));
    return arguments;
  }

  private JsonNode json(List<Object> arguments) throws Exception {
    return json(arguments.toArray());
  }

  /** What a command that succeeds prints for machines. */
  private JsonNode json(Object... arguments) throws Exception {
    List<Object> all = new ArrayList<>(List.of(arguments));
    all.add("--json");
    CliProcess process = CliProcess.run(folder, all.toArray());
    assertEquals(0, process.status(), process.err() + process.out());
    return JSON.readTree(process.out());
  }
}
