package io.moe4j.cli;

import static io.moe4j.checkpoint.SafetensorsDType.BF16;
import static io.moe4j.checkpoint.SafetensorsDType.F32;
import static io.moe4j.checkpoint.SafetensorsDType.I32;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.google.common.collect.Iterables;
import io.moe4j.MoeCall;
import io.moe4j.MoeException;
import io.moe4j.MoeOutput;
import io.moe4j.QuantFormat;
import io.moe4j.Routing;
import io.moe4j.Tensor;
import io.moe4j.checkpoint.SafetensorsFile;
import io.moe4j.testing.SyntheticModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * {@code run} around a device that does no arithmetic; moe-tests judges what a real one computes.
 */
class RunCommandTest {
  private static final int LAYER = 3;

  @TempDir Path folder;

  private final List<MoeCall> calls = new ArrayList<>();
  private final List<String> tactics = new ArrayList<>();
  private Path checkpoint;
  private Path output;

  @BeforeEach
  void prepare() throws IOException {
    output = folder.resolve("out.safetensors");
    checkpoint = Files.createDirectory(folder.resolve("checkpoint"));
    CliDevices.onOpen(
        device ->
            device.onLaunch(
                (call, tactic) -> {
                  calls.add(call);
                  tactics.add(tactic.name());
                  launch(call);
                }));
  }

  /** The shared experts give 0.5, the routed ones add 2; the routing is the input's or expert 1. */
  private static void launch(MoeCall call) {
    MoeOutput.Finalized out = (MoeOutput.Finalized) call.output();
    boolean shared = call.topkIds().isEmpty();
    for (int i = 0; i < out.output().spec().elements(); i++) {
      if (shared) {
        out.output().buffer().putFloat(4 * i, 0.5f);
      } else {
        float addend = out.addend().map(a -> readFloat(a)).orElse(0f);
        HostTensor tensor = new HostTensor(out.output().spec(), out.output().buffer());
        switch (tensor.spec().dtype()) {
          case F32 -> tensor.bytes().putFloat(4 * i, 2 + addend);
          default -> tensor.bytes().putShort(2 * i, Bf16.fromFloat(2 + addend));
        }
      }
    }
    call.topkIds().ifPresent(ids -> fill(ids.buffer(), (byte) 1));
  }

  private static float readFloat(Tensor tensor) {
    return tensor.buffer().getFloat(0);
  }

  private static void fill(ByteBuffer buffer, byte value) {
    for (int i = 0; i < buffer.limit(); i += 4) {
      buffer.put(i, value);
    }
  }

  @AfterEach
  void everythingWasClosed() {
    CliDevices.onOpen(device -> {});
    if (!calls.isEmpty()) {
      // The fake refuses to be closed before what lives on it.
      assertTrue(CliDevices.last().isClosed());
    }
  }

  private void gptOss() throws IOException {
    new SyntheticModel(1).gptOss(LAYER).write(checkpoint, SyntheticModel.GPT_OSS_CONFIG);
  }

  private void deepSeek() throws IOException {
    new SyntheticModel(1).deepSeek(LAYER).write(checkpoint, SyntheticModel.DEEPSEEK_CONFIG);
  }

  private static TensorFile hidden(int tokens) {
    return new TensorFile().add("hidden_states", BF16, tokens, SyntheticModel.H, 1, -2, 3);
  }

  private Cli run(TensorFile input, Object... more) {
    return run(LAYER, input.write(folder.resolve("in.safetensors")), more);
  }

  private Cli run(int layer, Path input, Object... more) {
    Object[] arguments = {
      "run", "--checkpoint", checkpoint, "--layer", layer, "--input", input, "--output", output
    };
    List<Object> all = new ArrayList<>(Arrays.asList(arguments));
    all.addAll(Arrays.asList(more));
    Cli cli = Cli.run(all.toArray());
    if (cli.status() != 0) {
      assertEquals("", cli.out());
      assertFalse(Files.exists(output));
    }
    return cli;
  }

  private void assertFails(int status, String sentence, Cli cli) {
    assertEquals(status, cli.status());
    assertTrue(cli.error().startsWith("moe4j run: " + sentence), cli.err());
  }

  // ---- what it computes

  @Test
  void appliesTheCheckpointsRouter() throws Exception {
    gptOss();
    Cli cli = run(hidden(3), "--device", "cpu", "--threads", 5);
    assertEquals(0, cli.status(), cli.err());
    assertEquals("", cli.err());
    assertEquals(5, CliDevices.lastOptions().threads());
    assertTrue(CliDevices.last().operations().contains("routerLogits 3 64 4"));
    assertTrue(Iterables.getOnlyElement(calls).routing() instanceof Routing.FromLogits);
    try (SafetensorsFile file = SafetensorsFile.open(output)) {
      assertEquals("output BF16 [3, 64]", file.tensor("output").toString());
      assertEquals("topk_ids I32 [3, 2]", file.tensor("topk_ids").toString());
      assertEquals("topk_weights F32 [3, 2]", file.tensor("topk_weights").toString());
      assertEquals(2f, Bf16.toFloat(file.tensor("output").buffer().getShort(0)));
      assertEquals(1, file.tensor("topk_ids").buffer().getInt(4));
    }
    assertTrue(cli.out().contains("routing   the checkpoint's router"), cli.out());
    assertTrue(cli.out().contains("tactic    fake.t8 (default)"), cli.out());
  }

  @Test
  void takesLogitsAsTheyAre() throws Exception {
    gptOss();
    Cli cli = run(hidden(2).add("router_logits", F32, 2, 4, 1, 2, 3, 4), "--device", "cpu");
    assertEquals(0, cli.status(), cli.err());
    assertTrue(
        CliDevices.last().operations().stream().noneMatch(name -> name.startsWith("routerLogits")));
    assertTrue(calls.get(0).routing() instanceof Routing.FromLogits);
  }

  @Test
  void takesChosenExpertsAsTheyAre() throws Exception {
    gptOss();
    TensorFile input =
        hidden(2).add("topk_ids", I32, 2, 2, 3, 0, 1, 2).add("topk_weights", BF16, 2, 2, 0.5);
    Cli cli = run(input, "--device", "cpu");
    assertEquals(0, cli.status(), cli.err());
    assertTrue(calls.get(0).routing() instanceof Routing.Unpacked);
    assertTrue(cli.out().contains("routing   topk_ids of the input"), cli.out());
  }

  @Test
  void addsSharedExpertsBeforeTheOneRounding() throws Exception {
    deepSeek();
    Cli cli = run(hidden(3), "--device", "cpu", "--output-dtype", "f32", "--json");
    assertEquals(0, cli.status(), cli.err());
    assertEquals(2, calls.size());
    // First the shared experts: everything goes to the one expert, with weight 1, unrounded.
    Routing.Unpacked everyToken = (Routing.Unpacked) calls.get(0).routing();
    assertEquals("I32 [3, 1]", everyToken.ids().spec().toString());
    Tensor sharedOutput = ((MoeOutput.Finalized) calls.get(0).output()).output();
    assertEquals("F32 [3, 64]", sharedOutput.spec().toString());
    assertEquals(
        sharedOutput, ((MoeOutput.Finalized) calls.get(1).output()).addend().orElseThrow());
    // The router's correction takes part in the selection.
    assertTrue(((Routing.FromLogits) calls.get(1).routing()).bias().isPresent());
    try (SafetensorsFile file = SafetensorsFile.open(output)) {
      assertEquals("output F32 [3, 64]", file.tensor("output").toString());
      assertEquals(2.5f, file.tensor("output").buffer().getFloat(0));
    }
    assertEquals("BF16", cli.json().get("sharedWeightFormat").textValue());
  }

  @Test
  void keepsSharedExpertsOfBf16InBf16() throws Exception {
    deepSeek();
    List<Float> inputScales = new ArrayList<>();
    CliDevices.onOpen(device -> device.onExpert(e -> inputScales.add(e.inputScale())));
    Cli cli = run(hidden(1), "--device", "cpu", "--activations", "NVFP4", "--json");
    assertEquals(0, cli.status(), cli.err());
    assertEquals("NVFP4", cli.json().get("activationFormat").textValue());
    // The larger of gate's and up's; 1 is what BF16 activations have.
    List<Float> expected = new ArrayList<>();
    for (int e = 0; e < SyntheticModel.E; e++) {
      expected.add(Math.max(SyntheticModel.inputScale(e, 0), SyntheticModel.inputScale(e, 1)));
    }
    expected.add(1f);
    assertEquals(expected, inputScales);
  }

  @Test
  void noTokensAreNoTrouble() throws Exception {
    deepSeek();
    Cli cli = run(hidden(0), "--device", "cpu");
    assertEquals(0, cli.status(), cli.err());
    try (SafetensorsFile file = SafetensorsFile.open(output)) {
      assertEquals("output BF16 [0, 64]", file.tensor("output").toString());
      assertEquals("topk_ids I32 [0, 2]", file.tensor("topk_ids").toString());
    }
  }

  @Test
  void runsTheTacticThatItIsTold() throws Exception {
    gptOss();
    Cli cli = run(hidden(1), "--device", "cpu", "--tactic", "fake.t64");
    assertEquals(0, cli.status(), cli.err());
    assertEquals(List.of("fake.t64"), tactics);
    assertTrue(cli.out().contains("tactic    fake.t64 (given)"), cli.out());
  }

  @Test
  void tellsMachinesWhatItDid() throws Exception {
    gptOss();
    JsonNode json = run(hidden(3), "--device", "cpu", "--json").json();
    assertEquals("gpt_oss", json.get("family").textValue());
    assertEquals(LAYER, json.get("layer").intValue());
    assertEquals(3, json.get("tokens").intValue());
    assertEquals("cpu", json.get("device").textValue());
    assertEquals("fake.t8", json.get("tactic").textValue());
    assertEquals("RENORMALIZE", json.get("routingMethod").textValue());
    assertEquals(QuantFormat.MXFP4.name(), json.get("weightFormat").textValue());
    assertFalse(json.has("fallbackReason"));
    assertFalse(json.has("sharedWeightFormat"));
    assertEquals(output.toString(), json.get("output").textValue());
  }

  @Test
  void autoSaysWhyItTookTheCpu() throws Exception {
    gptOss();
    Cli cli = run(hidden(1));
    assertEquals(0, cli.status(), cli.err());
    assertTrue(cli.error().startsWith("running on the CPU: cuda:0 is not available: "), cli.err());
    Cli json = run(hidden(1), "--json");
    assertEquals("", json.err());
    assertTrue(
        json.json().get("fallbackReason").textValue().startsWith("cuda:0 is not available: "));
  }

  // ---- what it refuses

  @Test
  void anUnknownTacticIsAWrongUse() throws Exception {
    gptOss();
    assertFails(
        2,
        "--tactic: found fake.t7, expected one of fake.t8, fake.t64 (see moe4j run --help)",
        run(hidden(1), "--device", "cpu", "--tactic", "fake.t7"));
    assertEquals(List.of(), calls);
    assertTrue(CliDevices.last().isClosed());
  }

  @Test
  void aLayerWithoutExpertsIsAWrongUse() throws Exception {
    gptOss();
    assertFails(
        2,
        "--layer: found 0, expected one with experts: 3 (see moe4j run --help)",
        run(0, hidden(1).write(folder.resolve("in.safetensors"))));
  }

  @Test
  void aMissingCheckpointIsAFailure() {
    checkpoint = folder.resolve("nowhere");
    assertFails(1, checkpoint + ": no such folder", run(hidden(1)));
  }

  @Test
  void aMissingInputIsAFailure() throws Exception {
    gptOss();
    Path nothing = folder.resolve("nothing.safetensors");
    assertFails(1, nothing + ": no such file", run(LAYER, nothing));
  }

  @Test
  void anInputThatDoesNotFitIsAFailure() throws Exception {
    gptOss();
    assertFails(
        1,
        folder.resolve("in.safetensors")
            + ": tensor \"hidden_states\": found F32 [3, 65], expected F32 or BF16 [tokens, 64]",
        run(new TensorFile().add("hidden_states", F32, 3, 65, 0)));
  }

  @Test
  void activationsThatTheCheckpointHasNoScalesForAreAFailure() throws Exception {
    gptOss();
    Cli cli = run(hidden(1), "--device", "cpu", "--activations", "nvfp4");
    assertEquals(1, cli.status());
    assertTrue(cli.error().contains("NVFP4 activations need one"), cli.err());
    assertTrue(CliDevices.last().isClosed());
  }

  @Test
  void aGpuThatIsNotThereIsAFailureInOneSentence() throws Exception {
    gptOss();
    assertFails(1, "cuda:77 is not available: ", run(hidden(1), "--device", "cuda:77"));
  }

  @Test
  void aFolderThatIsNotThereIsFoundBeforeTheWork() throws Exception {
    gptOss();
    output = folder.resolve("missing").resolve("out.safetensors");
    assertFails(
        1,
        folder.resolve("missing") + ": no such folder for --output",
        run(hidden(1), "--device", "cpu"));
    assertEquals(List.of(), calls);
  }

  @Test
  void aFailureOfTheDeviceLeavesNothingOpenAndTheOldOutputAsItWas() throws Exception {
    gptOss();
    Files.writeString(output, "precious");
    CliDevices.onOpen(
        device ->
            device.onLaunch(
                (call, tactic) -> {
                  throw new MoeException("the device is on fire");
                }));
    Path input = hidden(1).write(folder.resolve("in.safetensors"));
    Cli cli =
        Cli.run(
            "run",
            "--checkpoint",
            checkpoint,
            "--layer",
            LAYER,
            "--input",
            input,
            "--output",
            output,
            "--device",
            "cpu");
    assertFails(1, "the device is on fire", cli);
    assertTrue(CliDevices.last().isClosed());
    assertEquals("precious", Files.readString(output));
    try (var files = Files.list(folder)) {
      assertEquals(3, files.count());
    }
  }
}
