package io.moe4j.tests.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;
import io.moe4j.tests.fixtures.TestDevice;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The packaged application's {@code tune} on the tests' device, by the device's own clock. */
class TuneCommandIT {
  @TempDir Path folder;

  @Test
  void tuningsAreKeptAndFoundAgain() throws Exception {
    TestBlock block =
        TestBlock.draw(
            MoeSpec.builder()
                .weightFormat(QuantFormat.NVFP4)
                .hiddenSize(256)
                .intermediateSize(128)
                .numExperts(16)
                .topK(4)
                .routing(RoutingSpec.of(RoutingMethod.RENORMALIZE_NAIVE))
                .build(),
            null,
            11);
    ProjectionFiles.write(folder, block, ProjectionFiles.Quantizer.MODELOPT);
    Path plan = folder.resolve("plan.json");

    CliProcess tuned = tune("--plan", plan);
    assertEquals(0, tuned.status(), tuned.err());
    assertTrue(tuned.out().contains("kept in "), tuned.out());
    assertTrue(Files.readString(plan).contains("tactic"), Files.readString(plan));

    CliProcess again = tune("--json");
    assertEquals(0, again.status(), again.err());
    assertTrue(again.out().contains("\"launches\" : 0,"), again.out());
  }

  private CliProcess tune(Object option, Object... value) throws Exception {
    return CliProcess.run(
        folder,
        Stream.concat(
                Stream.of(
                    "tune",
                    "--checkpoint",
                    folder,
                    "--layer",
                    ProjectionFiles.LAYER,
                    "--device",
                    TestDevice.name(),
                    "--tokens",
                    "1,16",
                    "--budget",
                    "30s",
                    "--cache",
                    folder.resolve("cache"),
                    option),
                Stream.of(value))
            .toArray());
  }
}
