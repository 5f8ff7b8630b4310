package io.moe4j.tests.gpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.tests.checkpoint.CliProcess;
import io.moe4j.tests.fixtures.TestDevice;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The packaged application's {@code demo}, which judges every tactic of a layer of real size. */
@OnCuda
class DemoCommandIT {
  @TempDir Path folder;

  @Test
  void everyTacticAgreesWithTheReference() throws Exception {
    CliProcess demo =
        CliProcess.run(
            folder, "demo", "--device", TestDevice.name(), "--cache", folder.resolve("cache"));
    assertEquals(0, demo.status(), demo.err() + demo.out());
    assertTrue(demo.out().contains(TestDevice.name()), demo.out());
    assertTrue(demo.out().contains("sm80."), demo.out());
  }
}
