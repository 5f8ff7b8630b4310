package io.moe4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Checkpoints as {@code inspect} describes them. */
class InspectCommandTest {
  @TempDir Path folder;

  private Cli inspect(int blockScale, Object... more) throws Exception {
    Object[] arguments = new Object[3 + more.length];
    arguments[0] = "inspect";
    arguments[1] = "--checkpoint";
    arguments[2] = SmallCheckpoint.write(folder, blockScale);
    System.arraycopy(more, 0, arguments, 3, more.length);
    return Cli.run(arguments);
  }

  @Test
  void describesASoundCheckpointToPeople() throws Exception {
    Cli cli = inspect(127);
    assertEquals(0, cli.status(), cli.err());
    assertTrue(cli.out().contains("gpt_oss, mxfp4, layers with experts: 1"), cli.out());
    assertTrue(
        cli.out().contains("layer 1: H = 64, I = 32, 4 experts, top 2, MXFP4 weights, RENORMALIZE"),
        cli.out());
    assertTrue(cli.out().contains("4 x [32, 64]"), cli.out());
    assertTrue(cli.out().strip().endsWith("nothing is wrong"), cli.out());
  }

  @Test
  void describesASoundCheckpointToMachines() throws Exception {
    Cli cli = inspect(127, "--json");
    assertEquals(0, cli.status(), cli.err());
    JsonNode json = cli.json();
    assertTrue(json.get("sound").booleanValue());
    JsonNode layer = json.get("layers").get(0);
    assertEquals(1, layer.get("layer").intValue());
    assertEquals(64, layer.get("routed").get("hiddenSize").intValue());
    assertEquals("MXFP4", layer.get("routed").get("weightFormat").textValue());
    assertFalse(layer.has("shared"));
    JsonNode gate = layer.get("projections").get(0);
    assertEquals("gate", gate.get("name").textValue());
    assertEquals(1.0, gate.get("blockScales").get("max").doubleValue());
    assertEquals(1.0, gate.get("sampledRms").doubleValue(), 1e-12);
  }

  @Test
  void failsOnScalesThatAreNotNumbersAndSaysWhere() throws Exception {
    Cli cli = inspect(255);
    assertEquals(1, cli.status());
    assertTrue(cli.out().contains("error: layer 1: "), cli.out());
    assertTrue(cli.out().contains("this checkpoint has errors"), cli.out());
    Cli json = inspect(255, "--json");
    assertEquals(1, json.status());
    assertFalse(json.json().get("sound").booleanValue());
    assertEquals("ERROR", json.json().get("findings").get(0).get("severity").textValue());
  }
}
