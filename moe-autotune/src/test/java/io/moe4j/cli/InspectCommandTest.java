package io.moe4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.moe4j.testing.SyntheticModel;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Checkpoints as {@code inspect} describes them. */
class InspectCommandTest {
  @TempDir Path folder;

  private Cli inspect(Object... more) {
    Object[] arguments =
        Arrays.copyOf(new Object[] {"inspect", "--checkpoint", folder}, 3 + more.length);
    System.arraycopy(more, 0, arguments, 3, more.length);
    return Cli.run(arguments);
  }

  @Test
  void describesASoundCheckpointToPeople() throws Exception {
    new SyntheticModel(1).gptOss(1).gptOss(2).write(folder, SyntheticModel.GPT_OSS_CONFIG);
    Cli cli = inspect();
    assertEquals(0, cli.status(), cli.err());
    assertTrue(cli.out().contains("gpt_oss, mxfp4, 2 layers with experts"), cli.out());
    assertTrue(
        cli.out().contains("layer 2: H = 64, I = 32, 4 experts, top 2, MXFP4 weights, RENORMALIZE"),
        cli.out());
    assertTrue(cli.out().contains("activations: BF16, MXFP8, FP8_PER_TOKEN, INT8"), cli.out());
    assertTrue(cli.out().contains("4 x [32, 64]"), cli.out());
    assertTrue(cli.out().strip().endsWith("nothing is wrong"), cli.out());
  }

  @Test
  void describesMixtral() throws Exception {
    new SyntheticModel(1).mixtral(0).writeSharded(folder, SyntheticModel.MIXTRAL_CONFIG);
    Cli cli = inspect();
    assertEquals(0, cli.status(), cli.err());
    assertTrue(cli.out().contains("mixtral, modelopt NVFP4, 1 layer with experts"), cli.out());
    assertTrue(
        cli.out().contains("layer 0: H = 64, I = 32, 4 experts, top 2, NVFP4 weights, RENORMALIZE"),
        cli.out());
  }

  @Test
  void describesASoundCheckpointToMachines() throws Exception {
    new SyntheticModel(1).deepSeek(3).write(folder, SyntheticModel.DEEPSEEK_CONFIG);
    Cli cli = inspect("--json");
    assertEquals(0, cli.status(), cli.err());
    JsonNode json = cli.json();
    assertTrue(json.get("sound").booleanValue());
    assertEquals("compressed-tensors", json.get("quantization").get("method").textValue());
    JsonNode layer = json.get("layers").get(0);
    assertEquals(3, layer.get("layer").intValue());
    assertEquals(64, layer.get("routed").get("hiddenSize").intValue());
    assertEquals("NVFP4", layer.get("routed").get("weightFormat").textValue());
    assertEquals("BF16", layer.get("shared").get("weightFormat").textValue());
    assertEquals("DEEPSEEK_V3", layer.get("routing").get("method").textValue());
    assertEquals(
        "[\"BF16\",\"NVFP4\",\"MXFP8\",\"FP8_PER_TOKEN\",\"INT8\"]",
        layer.get("activationFormats").toString());
    assertEquals(6, layer.get("projections").size());
    JsonNode gate = layer.get("projections").get(0);
    assertEquals("gate", gate.get("name").textValue());
    assertEquals(
        (double) SyntheticModel.scale(0, 0), gate.get("tensorScales").get("max").doubleValue());
    assertFalse(layer.get("projections").get(3).has("blockScales"));
  }

  @Test
  void failsOnScalesThatAreNotNumbersAndSaysWhere() throws Exception {
    SyntheticModel model = new SyntheticModel(1).gptOss(1);
    Arrays.fill(model.tensors.data("model.layers.1.mlp.experts.down_proj_scales"), (byte) 0xFF);
    model.write(folder, SyntheticModel.GPT_OSS_CONFIG);
    Cli cli = inspect();
    assertEquals(1, cli.status());
    assertTrue(cli.out().contains("error: layer 1: down"), cli.out());
    assertTrue(cli.out().contains("this checkpoint has errors"), cli.out());
    Cli json = inspect("--json");
    assertEquals(1, json.status());
    assertFalse(json.json().get("sound").booleanValue());
    assertEquals("ERROR", json.json().get("findings").get(0).get("severity").textValue());
  }

  @Test
  void aFolderThatIsNoCheckpointIsAFailure() {
    Cli cli = inspect();
    assertEquals(1, cli.status());
    assertEquals("moe4j inspect: " + folder.resolve("config.json") + ": no such file", cli.error());
  }
}
