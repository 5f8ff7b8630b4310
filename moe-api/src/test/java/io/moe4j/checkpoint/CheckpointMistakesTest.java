package io.moe4j.checkpoint;

import static io.moe4j.testing.SyntheticModel.DEEPSEEK_CONFIG;
import static io.moe4j.testing.SyntheticModel.E;
import static io.moe4j.testing.SyntheticModel.GPT_OSS_CONFIG;
import static io.moe4j.testing.SyntheticModel.H;
import static io.moe4j.testing.SyntheticModel.I;
import static io.moe4j.testing.SyntheticModel.MIXTRAL_CONFIG;
import static io.moe4j.testing.SyntheticModel.QWEN3_CONFIG;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.testing.RawTensors;
import io.moe4j.testing.SyntheticModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Checkpoints with a mistake in them: what would change a value is refused, and named. */
final class CheckpointMistakesTest {
  private static final int LAYER = 3;
  private static final String MLP = "model.layers.3.mlp.";
  private static final String GATE = MLP + "experts.1.gate_proj.";
  private static final String DOWN = MLP + "experts.1.down_proj.";
  private static final String SPARSE = "model.layers.3.block_sparse_moe.";

  @TempDir Path folder;

  /** A family, what is wrong, and a part of the message. */
  record Mistake(
      String what,
      String config,
      Consumer<SyntheticModel> layer,
      Consumer<RawTensors> damage,
      String message) {
    @Override
    public String toString() {
      return what;
    }
  }

  static Stream<Mistake> mistakes() {
    return Stream.of(
        qwen3("no weight", t -> t.remove(GATE + "weight"), "gate_proj.weight\": missing"),
        qwen3(
            "no block scales",
            t -> t.remove(GATE + "weight_scale"),
            GATE + "weight_scale\": missing"),
        qwen3(
            "no tensor scale",
            t -> t.remove(GATE + "weight_scale_2"),
            GATE + "weight_scale_2\": missing"),
        qwen3(
            "codes of too few rows",
            t -> t.add(GATE + "weight", "U8", new byte[(I - 1) * H / 2], I - 1, H / 2),
            "found U8 [31, 32], expected U8 [32, 32]"),
        qwen3(
            "codes transposed",
            t -> t.add(DOWN + "weight", "U8", new byte[H * I / 2], I / 2, H),
            "found U8 [16, 64], expected U8 [64, 16]"),
        qwen3(
            "codes of I8",
            t -> t.add(GATE + "weight", "I8", new byte[I * H / 2], I, H / 2),
            "found I8 [32, 32], expected U8"),
        qwen3(
            "weights of FP8",
            t -> t.add(GATE + "weight", "F8_E4M3", new byte[I * H], I, H),
            "found F8_E4M3 [32, 64], expected U8"),
        qwen3(
            "block scales of MXFP4's shape",
            t -> t.add(GATE + "weight_scale", "F8_E4M3", new byte[I * H / 32], I, H / 32),
            "found F8_E4M3 [32, 2], expected F8_E4M3 [32, 4]"),
        qwen3(
            "block scales of UE8M0",
            t -> t.add(GATE + "weight_scale", "F8_E8M0", new byte[I * H / 16], I, H / 16),
            "found F8_E8M0 [32, 4], expected F8_E4M3"),
        qwen3(
            "block scales of U8",
            t -> t.add(GATE + "weight_scale", "U8", new byte[I * H / 16], I, H / 16),
            "found U8 [32, 4], expected F8_E4M3"),
        qwen3(
            "a tensor scale for each row",
            t -> t.addF32(GATE + "weight_scale_2", new float[I], I),
            "expected an F32 scalar, [] or [1]"),
        qwen3(
            "a tensor scale of BF16",
            t -> t.addBf16(GATE + "weight_scale_2", new float[] {1f}, 1),
            "found BF16 [1], expected an F32 scalar"),
        qwen3(
            "a tensor scale of NaN",
            t -> t.addF32(GATE + "weight_scale_2", new float[] {Float.NaN}, 1),
            "found NaN, expected a finite factor"),
        qwen3(
            "a negative tensor scale",
            t -> t.addF32(GATE + "weight_scale_2", new float[] {-1f}, 1),
            "found -1.0, expected a finite factor"),
        qwen3(
            "an input scale of 0",
            t -> t.addF32(GATE + "input_scale", new float[] {0f}, 1),
            "found 0.0, expected more than 0"),
        qwen3(
            "a scale of AWQ",
            t -> t.addF32(GATE + "pre_quant_scale", new float[H], H),
            "pre_quant_scale\": not known"),
        qwen3(
            "a bias that nobody reads",
            t -> t.addF32(DOWN + "bias", new float[H], H),
            "bias\": not known"),
        qwen3(
            "a block with a shared expert",
            t -> t.addBf16(MLP + "shared_expert.up_proj.weight", new float[H * I], I, H),
            "not known in a block of this model"),
        qwen3(
            "one projection in BF16",
            t -> removeModelOpt(t, DOWN).addBf16(DOWN + "weight", new float[H * I], H, I),
            "found PlainBf16, expected ModelOptNvfp4"),
        qwen3(
            "a router of too few experts",
            t -> t.addBf16(MLP + "gate.weight", new float[3 * H], 3, H),
            "found BF16 [3, 64], expected F32 or BF16 [4, 64]"),
        qwen3("no router", t -> t.remove(MLP + "gate.weight"), "gate.weight\": missing"),
        qwen3(
            "fewer experts than configured",
            t -> {
              for (String projection : new String[] {"gate", "up", "down"}) {
                removeModelOpt(t, MLP + "experts.3." + projection + "_proj.");
              }
            },
            "experts.3.gate_proj.weight\": missing"),
        mixtral(
            "no gate",
            t -> removeModelOpt(t, SPARSE + "experts.0.w1."),
            "experts.0.w1.weight\": missing"),
        mixtral(
            "no tensor scale of up",
            t -> t.remove(SPARSE + "experts.2.w3.weight_scale_2"),
            "experts.2.w3.weight_scale_2\": missing"),
        mixtral(
            "down of gate's shape",
            t -> t.add(SPARSE + "experts.1.w2.weight", "U8", new byte[H * I / 2], I, H / 2),
            "w2.weight\": found U8 [32, 32], expected U8 [64, 16]"),
        mixtral(
            "a router of too many experts",
            t -> t.addBf16(SPARSE + "gate.weight", new float[5 * H], 5, H),
            "found BF16 [5, 64], expected F32 or BF16 [4, 64]"),
        mixtral(
            "a router's bias",
            t -> t.addF32(SPARSE + "gate.bias", new float[E], E),
            "gate.bias\": not known in a block of this model"),
        mixtral(
            "a shared expert",
            t -> t.addBf16(SPARSE + "shared_expert.w1.weight", new float[H * I], I, H),
            "not known in a block of this model"),
        deepSeek(
            "a global scale of 0",
            t -> t.addF32(GATE + "weight_global_scale", new float[] {0f}, 1),
            "found 0.0, expected a positive finite divisor"),
        deepSeek(
            "a global scale whose reciprocal overflows",
            t -> t.addF32(GATE + "weight_global_scale", new float[] {Float.MIN_VALUE}, 1),
            "expected a positive finite divisor"),
        deepSeek(
            "no global scale",
            t -> t.remove(GATE + "weight_global_scale"),
            "weight_global_scale\": missing"),
        deepSeek(
            "ModelOpt's scale beside the global one",
            t -> t.addF32(GATE + "weight_scale_2", new float[] {1f}, 1),
            "weight_scale_2\": not known"),
        deepSeek(
            "no selection bias",
            t -> t.remove(MLP + "gate.e_score_correction_bias"),
            "e_score_correction_bias\": missing"),
        deepSeek(
            "no shared experts",
            t -> t.remove(MLP + "shared_experts.up_proj.weight"),
            "shared_experts.up_proj.weight\": missing"),
        deepSeek(
            "shared experts of one expert's size",
            t -> t.addBf16(MLP + "shared_experts.up_proj.weight", new float[I * H], I, H),
            "found BF16 [32, 64], expected BF16 [64, 64]"),
        gptOss(
            "blocks of two dimensions less",
            t ->
                t.add(
                    MLP + "experts.gate_up_proj_blocks",
                    "U8",
                    new byte[E * 2 * I * H / 2],
                    E,
                    2 * I,
                    H / 2),
            "expected U8 [4, 64, 2, 16]"),
        gptOss(
            "too few experts",
            t ->
                t.add(
                    MLP + "experts.down_proj_scales", "U8", new byte[3 * H * I / 32], 3, H, I / 32),
            "found U8 [3, 64, 1], expected U8 [4, 64, 1]"),
        gptOss(
            "no bias",
            t -> t.remove(MLP + "experts.gate_up_proj_bias"),
            "gate_up_proj_bias\": missing"),
        gptOss(
            "a bias of I32",
            t -> t.add(MLP + "router.bias", "I32", new byte[4 * E], E),
            "found I32 [4], expected F32 or BF16 [4]"),
        gptOss(
            "tensors that nobody reads",
            t -> t.addF32(MLP + "experts.alpha", new float[E], E),
            "not known in a block of this model"));
  }

  /** All tensors of a projection of ModelOpt's. */
  private static RawTensors removeModelOpt(RawTensors tensors, String projection) {
    for (String name : List.of("weight", "weight_scale", "weight_scale_2", "input_scale")) {
      tensors.remove(projection + name);
    }
    return tensors;
  }

  private static Mistake qwen3(String what, Consumer<RawTensors> damage, String message) {
    return new Mistake("qwen3: " + what, QWEN3_CONFIG, m -> m.qwen3(LAYER), damage, message);
  }

  private static Mistake mixtral(String what, Consumer<RawTensors> damage, String message) {
    return new Mistake("mixtral: " + what, MIXTRAL_CONFIG, m -> m.mixtral(LAYER), damage, message);
  }

  private static Mistake deepSeek(String what, Consumer<RawTensors> damage, String message) {
    return new Mistake(
        "deepseek: " + what, DEEPSEEK_CONFIG, m -> m.deepSeek(LAYER), damage, message);
  }

  private static Mistake gptOss(String what, Consumer<RawTensors> damage, String message) {
    return new Mistake("gpt-oss: " + what, GPT_OSS_CONFIG, m -> m.gptOss(LAYER), damage, message);
  }

  @ParameterizedTest
  @MethodSource("mistakes")
  void isRefusedByName(Mistake mistake) throws IOException {
    SyntheticModel model = new SyntheticModel(1);
    mistake.layer().accept(model);
    mistake.damage().accept(model.tensors);
    model.write(folder, mistake.config());
    assertRefused(mistake.message());
  }

  /** Opening, or reading all that the layer has, fails with this. */
  private void assertRefused(String message) {
    CheckpointException e = assertThrows(CheckpointException.class, this::readAll);
    assertTrue(e.getMessage().contains(message), e::getMessage);
    assertTrue(e.getMessage().startsWith(folder.toString()), e::getMessage);
  }

  private void readAll() {
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      MoeCheckpointLayer layer = checkpoint.layer(LAYER);
      readAll(layer.routedExperts());
      layer.sharedExperts().ifPresent(CheckpointMistakesTest::readAll);
    }
  }

  private static void readAll(CheckpointExperts experts) {
    MoeSpec spec =
        experts.spec(
            experts.weightFormat() == QuantFormat.NVFP4 ? QuantFormat.NVFP4 : QuantFormat.BF16);
    for (int e = 0; e < spec.numExperts(); e++) {
      experts.weights(spec).expert(e);
    }
  }

  /** A family's configuration with one thing replaced. */
  record Misconfigured(String what, String replace, String with, String message) {
    @Override
    public String toString() {
      return what;
    }
  }

  static Stream<Misconfigured> misconfigured() {
    return Stream.of(
        new Misconfigured("no JSON", DEEPSEEK_CONFIG, "nonsense", "not valid JSON"),
        new Misconfigured("a list", DEEPSEEK_CONFIG, "[]", "found no JSON object"),
        new Misconfigured("empty", DEEPSEEK_CONFIG, "", "found no JSON object"),
        new Misconfigured(
            "deep", DEEPSEEK_CONFIG, "{\"a\":".repeat(100_000), "beyond bounds: Document nesting"),
        new Misconfigured(
            "another model",
            "deepseek_v3",
            "llama",
            "model_type: found \"llama\", expected gpt_oss, qwen3_moe, mixtral,"),
        new Misconfigured(
            "no model", "\"model_type\": \"deepseek_v3\"", "\"a\": 1", "model_type: found"),
        new Misconfigured(
            "no hidden size", "\"hidden_size\": 64", "\"a\": 64", "has no hidden_size"),
        new Misconfigured("a size in quotes", ": 64", ": \"64\"", "hidden_size: found \"64\""),
        new Misconfigured("a size of 64.5", ": 64", ": 64.5", "hidden_size: found \"64.5\""),
        new Misconfigured("a negative size", ": 64", ": -64", "hidden_size: found \"-64\""),
        new Misconfigured("a size of 2^40", ": 64", ": 1099511627776", "hidden_size: found"),
        new Misconfigured(
            "a size off the block", ": 64", ": 72", "cannot be: hiddenSize: found 72"),
        new Misconfigured("a size of 0", ": 64", ": 0", "describes a layer that cannot be"),
        new Misconfigured("twice the size", ": 64", ": 128", "expected F32 or BF16 [4, 128]"),
        new Misconfigured(
            "too many for a token",
            "experts_per_tok\": 2",
            "experts_per_tok\": 3",
            "describes a layer that cannot be: topK"),
        new Misconfigured("no groups", "\"n_group\": 2", "\"n_group\": 0", "cannot be: numGroups"),
        new Misconfigured("no factor", "routed_scaling_factor", "a", "has no routed_scaling"),
        new Misconfigured("a factor of 1e999", "2.5", "1e999", "routed_scaling_factor: found"),
        new Misconfigured("a factor of NaN", "2.5", "NaN", "not valid JSON"),
        new Misconfigured(
            "not normalized",
            "\"norm_topk_prob\": true",
            "\"norm_topk_prob\": false",
            "norm_topk_prob: found \"false\""),
        new Misconfigured(
            "softmax", "\"sigmoid\"", "\"softmax\"", "scoring_func: found \"softmax\""),
        new Misconfigured("greedy", "noaux_tc", "greedy", "topk_method: found \"greedy\""),
        new Misconfigured(
            "shared experts of which nothing is said",
            "\"n_shared_experts\": 2",
            "\"n_shared_experts\": 0",
            "n_shared_experts: found \"0\""),
        new Misconfigured(
            "three shared experts",
            "\"n_shared_experts\": 2",
            "\"n_shared_experts\": 3",
            "expected BF16 [96, 64]"),
        new Misconfigured(
            "shared experts that overflow",
            "\"n_shared_experts\": 2",
            "\"n_shared_experts\": 2000000000",
            "n_shared_experts"),
        new Misconfigured(
            "another activation", "\"n_group\"", "\"hidden_act\": \"gelu\", \"n_group\"", "gelu"),
        new Misconfigured(
            "another quantization",
            "compressed-tensors",
            "modelopt",
            "quantization: found modelopt"),
        new Misconfigured(
            "another format", "nvfp4-pack-quantized", "float-quantized", "[float-quantized]"),
        new Misconfigured(
            "quantization that is a word",
            "\"quantization_config\": {",
            "\"quantization_config\": \"nvfp4\", \"a\": {",
            "quantization_config: found \"nvfp4\""),
        new Misconfigured(
            "a key twice", "\"n_group\": 2", "\"n_group\": 2, \"n_group\": 1", "Duplicate"));
  }

  @ParameterizedTest
  @MethodSource("misconfigured")
  void configurationIsRefusedByName(Misconfigured mistake) throws IOException {
    assertTrue(DEEPSEEK_CONFIG.contains(mistake.replace()));
    String config = DEEPSEEK_CONFIG.replaceFirst(Pattern.quote(mistake.replace()), mistake.with());
    new SyntheticModel(1).deepSeek(LAYER).write(folder, config);
    assertRefused(mistake.message());
  }

  @Test
  void aDenseLayerIsNamed() throws IOException {
    SyntheticModel model = new SyntheticModel(1).deepSeek(1).deepSeek(3).deepSeek(4).deepSeek(6);
    model.tensors.addBf16("model.layers.5.mlp.gate_proj.weight", new float[I * H], I, H);
    model.write(folder, DEEPSEEK_CONFIG);
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      assertEquals(List.of(3, 4, 6), checkpoint.layers());
      assertLayer(
          checkpoint, 1, "layer: found 1, a dense layer, expected one with experts: 3 to 4, 6");
      assertLayer(checkpoint, 5, "layer: found 5, a dense layer, expected");
      assertLayer(checkpoint, 7, "layer: found 7, expected");
      assertLayer(checkpoint, -1, "layer: found -1, expected");
    }
  }

  private static void assertLayer(MoeCheckpoint checkpoint, int layer, String message) {
    InvalidArgumentException e =
        assertThrows(InvalidArgumentException.class, () -> checkpoint.layer(layer));
    assertEquals("layer", e.argument());
    assertTrue(e.getMessage().startsWith(message), e::getMessage);
  }

  @Test
  void missingInputScalesMatterToNvfp4ActivationsAlone() throws IOException {
    SyntheticModel model = new SyntheticModel(1).qwen3(LAYER);
    model.tensors.remove(MLP + "experts.2.up_proj.input_scale");
    model.write(folder, QWEN3_CONFIG);
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      CheckpointExperts experts = checkpoint.layer(LAYER).routedExperts();
      assertEquals(1f, experts.weights(experts.spec()).expert(2).inputScale());
      MoeSpec nvfp4 = experts.spec(QuantFormat.NVFP4);
      CheckpointException e =
          assertThrows(CheckpointException.class, () -> experts.weights(nvfp4).expert(2));
      assertTrue(e.getMessage().contains(MLP + "experts.2.up_proj.input_scale"), e::getMessage);
    }
  }

  @Test
  void gptOssHasNoInputScales() throws IOException {
    new SyntheticModel(1).gptOss(LAYER).write(folder, GPT_OSS_CONFIG);
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      CheckpointExperts experts = checkpoint.layer(LAYER).routedExperts();
      experts.weights(experts.spec(QuantFormat.MXFP8)).expert(0);
      MoeSpec nvfp4 = experts.spec(QuantFormat.NVFP4);
      CheckpointException e =
          assertThrows(CheckpointException.class, () -> experts.weights(nvfp4).expert(0));
      assertTrue(e.getMessage().contains("input scale"), e::getMessage);
    }
  }

  @Test
  void aLimitOfZeroClampsEverything() throws IOException {
    new SyntheticModel(1).gptOss(LAYER).write(folder, GPT_OSS_CONFIG.replace("7.0", "0.0"));
    assertRefused("swiglu_limit: found \"0.0\", expected more than 0");
  }

  @Test
  void mixtralIsRefusedWithoutWhatItsSpecNeeds() throws IOException {
    SyntheticModel model = new SyntheticModel(1).mixtral(LAYER);
    for (String field :
        List.of("num_local_experts", "num_experts_per_tok", "hidden_size", "intermediate_size")) {
      model.write(folder, MIXTRAL_CONFIG.replace('"' + field + '"', "\"a\""));
      assertRefused("has no " + field);
    }
    model.write(folder, MIXTRAL_CONFIG.replace("\"silu\"", "\"gelu\""));
    assertRefused("hidden_act: found \"gelu\", expected \"silu\"");
  }

  @Test
  void weightsAreForALayerThatFits() throws IOException {
    new SyntheticModel(1).qwen3(LAYER).write(folder, QWEN3_CONFIG);
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      CheckpointExperts experts = checkpoint.layer(LAYER).routedExperts();
      MoeSpec other =
          MoeSpec.builder().hiddenSize(32).intermediateSize(I).numExperts(E).topK(2).build();
      assertEquals(
          "layer",
          assertThrows(InvalidArgumentException.class, () -> experts.weights(other)).argument());
      assertEquals(
          "expert",
          assertThrows(
                  InvalidArgumentException.class, () -> experts.weights(experts.spec()).expert(E))
              .argument());
    }
  }

  @Test
  void foldersThatAreNone() throws IOException {
    CheckpointException e =
        assertThrows(CheckpointException.class, () -> MoeCheckpoint.open(folder.resolve("x")));
    assertTrue(e.getMessage().contains("no such folder"), e::getMessage);
    Path file = folder.resolve("model.safetensors");
    new SyntheticModel(1).qwen3(LAYER).tensors.write(file);
    e = assertThrows(CheckpointException.class, () -> MoeCheckpoint.open(file));
    assertTrue(e.getMessage().contains("not a folder"), e::getMessage);
    assertRefused("config.json: no such file");
    Files.delete(folder.resolve("model.safetensors"));
    Files.writeString(folder.resolve("config.json"), QWEN3_CONFIG);
    assertRefused("no *.safetensors file");
  }
}
