package io.moe4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import org.junit.jupiter.api.Test;

/** What {@code doctor} says of the machine that runs the tests. */
class DoctorCommandTest {
  @Test
  void saysWhatThereIsToPeople() {
    Cli cli = Cli.run("doctor");
    assertEquals("", cli.err());
    assertTrue(cli.out().contains(System.getProperty("java.version")), cli.out());
    assertTrue(cli.out().contains(System.getProperty("os.arch")), cli.out());
  }

  @Test
  void saysWhatThereIsToMachines() throws Exception {
    JsonNode json = Cli.run("doctor", "--json").json();
    assertEquals(
        Runtime.getRuntime().availableProcessors(),
        json.get("platform").get("processors").intValue());
    for (JsonNode backend : json.get("backends")) {
      // A back end without devices says why.
      assertEquals(backend.get("devices").isEmpty(), backend.has("problem"), backend.toString());
    }
  }
}
