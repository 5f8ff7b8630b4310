package io.moe4j.checkpoint;

import static io.moe4j.testing.SyntheticModel.E;
import static io.moe4j.testing.SyntheticModel.H;
import static io.moe4j.testing.SyntheticModel.I;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.Activation;
import io.moe4j.ExpertWeights;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;
import io.moe4j.WeightMatrix;
import io.moe4j.testing.RawTensors;
import io.moe4j.testing.SyntheticModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What comes out of checkpoints of each family, against bytes picked out of them by hand. */
final class MoeCheckpointTest {
  /** What most families call gate, up and down. */
  private static final List<String> PROJECTIONS = List.of("gate_proj.", "up_proj.", "down_proj.");

  @TempDir Path folder;

  @Test
  void gptOssRowsInterleaveGateAndUp() throws IOException {
    SyntheticModel model = new SyntheticModel(1).gptOss(0).gptOss(5);
    model.write(folder, SyntheticModel.GPT_OSS_CONFIG);
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      assertEquals(List.of(0, 5), checkpoint.layers());
      checkGptOss(
          checkpoint.layer(5),
          model.tensors,
          "model.layers.5.mlp.experts.gate_up_proj_blocks",
          "model.layers.5.mlp.experts.gate_up_proj_scales",
          "model.layers.5.mlp.experts.gate_up_proj_bias",
          "model.layers.5.mlp.experts.down_proj_blocks",
          "model.layers.5.mlp.experts.down_proj_scales",
          "model.layers.5.mlp.experts.down_proj_bias");
    }
  }

  @Test
  void gptOssInOpenAisNames() throws IOException {
    SyntheticModel model = new SyntheticModel(2).gptOssOpenAi(1);
    model.writeSharded(
        folder,
        """
        {"num_hidden_layers": 2, "num_experts": 4, "experts_per_token": 2, "hidden_size": 64,
         "intermediate_size": 32, "swiglu_limit": 7.0}
        """);
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      assertEquals(List.of(1), checkpoint.layers());
      checkGptOss(
          checkpoint.layer(1),
          model.tensors,
          "block.1.mlp.mlp1_weight.blocks",
          "block.1.mlp.mlp1_weight.scales",
          "block.1.mlp.mlp1_bias",
          "block.1.mlp.mlp2_weight.blocks",
          "block.1.mlp.mlp2_weight.scales",
          "block.1.mlp.mlp2_bias");
    }
  }

  private static void checkGptOss(
      MoeCheckpointLayer layer,
      RawTensors raw,
      String gateUp,
      String gateUpScales,
      String gateUpBias,
      String down,
      String downScales,
      String downBias) {
    MoeSpec spec = layer.routedExperts().spec();
    assertEquals(
        MoeSpec.builder()
            .weightFormat(QuantFormat.MXFP4)
            .hiddenSize(H)
            .intermediateSize(I)
            .numExperts(E)
            .topK(2)
            .activation(Activation.SWIGLU)
            .routing(RoutingSpec.of(RoutingMethod.RENORMALIZE))
            .build(),
        spec);
    for (int e = 0; e < E; e++) {
      ExpertWeights expert = layer.routedExperts().weights(spec).expert(e);
      assertEquals(1.702f, expert.alpha());
      assertEquals(1f, expert.beta());
      assertEquals(7f, expert.limit());
      WeightMatrix gate = expert.gate();
      WeightMatrix up = expert.up().orElseThrow();
      for (int row = 0; row < I; row++) {
        assertRow(raw.data(gateUp), (e * 2 * I + 2 * row) * H / 2, gate, row);
        assertRow(raw.data(gateUp), (e * 2 * I + 2 * row + 1) * H / 2, up, row);
        assertScales(raw.data(gateUpScales), (e * 2 * I + 2 * row) * H / 32, gate, row);
        assertScales(raw.data(gateUpScales), (e * 2 * I + 2 * row + 1) * H / 32, up, row);
        assertBias(raw.data(gateUpBias), e * 2 * I + 2 * row, gate, row);
        assertBias(raw.data(gateUpBias), e * 2 * I + 2 * row + 1, up, row);
      }
      for (int row = 0; row < H; row++) {
        assertRow(raw.data(down), (e * H + row) * I / 2, expert.down(), row);
        assertScales(raw.data(downScales), (e * H + row) * I / 32, expert.down(), row);
        assertBias(raw.data(downBias), e * H + row, expert.down(), row);
      }
    }
  }

  @Test
  void modelOptScalesMultiply() throws IOException {
    SyntheticModel model = new SyntheticModel(3).qwen3(7);
    model.writeSharded(folder, SyntheticModel.QWEN3_CONFIG);
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      MoeCheckpointLayer layer = checkpoint.layer(7);
      MoeSpec spec = layer.routedExperts().spec(QuantFormat.NVFP4);
      assertEquals(QuantFormat.NVFP4, spec.weightFormat());
      assertEquals(
          new RoutingSpec(RoutingMethod.RENORMALIZE_NAIVE, 1, 1, 1f, true), spec.routing());
      assertTrue(layer.sharedExperts().isEmpty());
      checkNvfp4(layer, spec, model.tensors, "model.layers.7.mlp.", PROJECTIONS, "weight");
    }
  }

  @Test
  void mixtralCallsGateUpAndDownW1W3AndW2() throws IOException {
    SyntheticModel model = new SyntheticModel(11).mixtral(0).mixtral(2);
    model.writeSharded(folder, SyntheticModel.MIXTRAL_CONFIG);
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      assertEquals("mixtral", checkpoint.family());
      assertEquals(List.of(0, 2), checkpoint.layers());
      MoeCheckpointLayer layer = checkpoint.layer(2);
      MoeSpec spec = layer.routedExperts().spec(QuantFormat.NVFP4);
      assertEquals(
          MoeSpec.builder()
              .weightFormat(QuantFormat.NVFP4)
              .activationFormat(QuantFormat.NVFP4)
              .hiddenSize(H)
              .intermediateSize(I)
              .numExperts(E)
              .topK(2)
              .activation(Activation.SWIGLU)
              .routing(RoutingSpec.of(RoutingMethod.RENORMALIZE))
              .build(),
          spec);
      assertTrue(layer.sharedExperts().isEmpty());
      assertTrue(layer.router().bias().isEmpty());
      assertTrue(layer.router().selectionBias().isEmpty());
      String block = "model.layers.2.block_sparse_moe.";
      checkNvfp4(layer, spec, model.tensors, block, List.of("w1.", "w3.", "w2."), "weight");
    }
  }

  @Test
  void compressedTensorsScalesDivide() throws IOException {
    SyntheticModel model = new SyntheticModel(4).deepSeek(3);
    model.write(folder, SyntheticModel.DEEPSEEK_CONFIG);
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      MoeCheckpointLayer layer = checkpoint.layer(3);
      MoeSpec spec = layer.routedExperts().spec(QuantFormat.NVFP4);
      assertEquals(RoutingSpec.deepSeekV3(2, 1, 2.5f), spec.routing());
      checkNvfp4(layer, spec, model.tensors, "model.layers.3.mlp.", PROJECTIONS, "weight_packed");

      CheckpointExperts shared = layer.sharedExperts().orElseThrow();
      assertEquals(QuantFormat.BF16, shared.weightFormat());
      assertEquals(2 * I, shared.spec().intermediateSize());
      assertEquals(1, shared.spec().numExperts());
      ExpertWeights expert = shared.weights(shared.spec()).expert(0);
      byte[] down = model.tensors.data("model.layers.3.mlp.shared_experts.down_proj.weight");
      for (int row = 0; row < H; row++) {
        assertRow(down, row * 2 * I * 2, expert.down(), row);
      }

      ByteBuffer bias = layer.router().selectionBias().orElseThrow();
      assertEquals(
          ByteBuffer.wrap(model.tensors.data("model.layers.3.mlp.gate.e_score_correction_bias")),
          bias.duplicate());
      assertEquals(ByteOrder.LITTLE_ENDIAN, bias.order());
    }
  }

  @Test
  void kimiK2IsReadAsDeepSeek() throws IOException {
    new SyntheticModel(5)
        .deepSeek(3)
        .write(folder, SyntheticModel.DEEPSEEK_CONFIG.replace("deepseek_v3", "kimi_k2"));
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      assertEquals("deepseek_v3", checkpoint.family());
      assertEquals(
          RoutingMethod.DEEPSEEK_V3, checkpoint.layer(3).routedExperts().spec().routing().method());
    }
  }

  @Test
  void sharedExpertsMayBeQuantizedLikeTheOthers() throws IOException {
    SyntheticModel model = new SyntheticModel(6).deepSeek(3);
    String shared = "model.layers.3.mlp.shared_experts.";
    for (String projection : List.of("gate", "up", "down")) {
      model.tensors.remove(shared + projection + "_proj.weight");
    }
    model
        .compressedTensors(shared + "gate_proj.", 2 * I, H, 64f, 8f)
        .compressedTensors(shared + "up_proj.", 2 * I, H, 128f, 4f)
        .compressedTensors(shared + "down_proj.", H, 2 * I, 256f, 2f);
    model.write(folder, SyntheticModel.DEEPSEEK_CONFIG);
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      CheckpointExperts experts = checkpoint.layer(3).sharedExperts().orElseThrow();
      assertEquals(QuantFormat.NVFP4, experts.weightFormat());
      ExpertWeights expert = experts.weights(experts.spec(QuantFormat.NVFP4)).expert(0);
      checkProjection(model.tensors, shared + "down_proj.", "weight_packed", expert.down());
      assertEquals(1 / 64f, expert.gate().tensorScale());
      assertEquals(1 / 128f, expert.up().orElseThrow().tensorScale());
      assertEquals(1 / 4f, expert.inputScale());
      assertEquals(1 / 2f, expert.intermediateScale());
    }
  }

  @Test
  void expertsThatWereLeftOutOfQuantizationAreBf16() throws IOException {
    SyntheticModel model = new SyntheticModel(7);
    String mlp = "model.layers.2.mlp.";
    for (int e = 0; e < E; e++) {
      model.tensors.addBf16(mlp + "experts." + e + ".gate_proj.weight", model.floats(I * H), I, H);
      model.tensors.addBf16(mlp + "experts." + e + ".up_proj.weight", model.floats(I * H), I, H);
      model.tensors.addBf16(mlp + "experts." + e + ".down_proj.weight", model.floats(I * H), H, I);
    }
    model.tensors.addF32(mlp + "gate.weight", model.floats(E * H), E, H);
    model.write(
        folder,
        SyntheticModel.QWEN3_CONFIG.replace(
            "\"norm_topk_prob\": true",
            "\"norm_topk_prob\": false, \"quantization_config\": {\"quant_method\": \"modelopt\","
                + " \"quant_algo\": \"NVFP4\", \"ignore\": [\"model.layers.2*\"]}"));
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      CheckpointExperts experts = checkpoint.layer(2).routedExperts();
      assertEquals(QuantFormat.BF16, experts.weightFormat());
      assertEquals(false, experts.spec().routing().normTopkProb());
      ExpertWeights expert = experts.weights(experts.spec()).expert(3);
      byte[] up = model.tensors.data(mlp + "experts.3.up_proj.weight");
      for (int row = 0; row < I; row++) {
        assertRow(up, row * H * 2, expert.up().orElseThrow(), row);
      }
    }
  }

  @Test
  void modelOptMayDeclareItselfInAFileOfItsOwn() throws IOException {
    new SyntheticModel(8).qwen3(0).write(folder, SyntheticModel.QWEN3_CONFIG);
    Path declaration = folder.resolve("hf_quant_config.json");
    Files.writeString(declaration, "{\"quantization\": {\"quant_algo\": \"NVFP4\"}}");
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      assertEquals("modelopt", checkpoint.config().quantization().orElseThrow().method());
      checkpoint.layer(0);
    }
    Files.writeString(declaration, "{\"quantization\": {\"quant_algo\": \"FP8\"}}");
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      CheckpointException e = assertThrows(CheckpointException.class, () -> checkpoint.layer(0));
      assertTrue(e.getMessage().startsWith(declaration + ": quantization"), e::getMessage);
    }
  }

  @Test
  void aSliceOfTheExpertsReadsItsOwn() throws IOException {
    SyntheticModel model = new SyntheticModel(9).qwen3(0);
    model.write(folder, SyntheticModel.QWEN3_CONFIG);
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      CheckpointExperts experts = checkpoint.layer(0).routedExperts();
      ExpertWeights held = experts.weights(experts.spec().withExpertParallel(2, 2)).expert(1);
      assertEquals(SyntheticModel.scale(3, 0), held.gate().tensorScale());
    }
  }

  @Test
  void selectionBiasInBf16IsWidened() throws IOException {
    SyntheticModel model = new SyntheticModel(10).deepSeek(3);
    model.tensors.addBf16(
        "model.layers.3.mlp.gate.e_score_correction_bias", new float[] {1, -2, 0.5f, 3}, E);
    model.write(folder, SyntheticModel.DEEPSEEK_CONFIG);
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      ByteBuffer bias = checkpoint.layer(3).router().selectionBias().orElseThrow();
      assertEquals(4 * E, bias.remaining());
      assertEquals(-2f, bias.getFloat(4));
      assertEquals(0.5f, bias.getFloat(8));
    }
  }

  private static void checkNvfp4(
      MoeCheckpointLayer layer,
      MoeSpec spec,
      RawTensors raw,
      String block,
      List<String> projections,
      String weight) {
    for (int e = 0; e < E; e++) {
      ExpertWeights expert = layer.routedExperts().weights(spec).expert(e);
      String prefix = block + "experts." + e + ".";
      checkProjection(raw, prefix + projections.get(0), weight, expert.gate());
      checkProjection(raw, prefix + projections.get(1), weight, expert.up().orElseThrow());
      checkProjection(raw, prefix + projections.get(2), weight, expert.down());
      assertEquals(SyntheticModel.scale(e, 0), expert.gate().tensorScale());
      assertEquals(SyntheticModel.scale(e, 1), expert.up().orElseThrow().tensorScale());
      assertEquals(SyntheticModel.scale(e, 2), expert.down().tensorScale());
      assertEquals(
          Math.max(SyntheticModel.inputScale(e, 0), SyntheticModel.inputScale(e, 1)),
          expert.inputScale());
      assertEquals(SyntheticModel.inputScale(e, 2), expert.intermediateScale());
    }
  }

  private static void checkProjection(
      RawTensors raw, String prefix, String weight, WeightMatrix matrix) {
    assertEquals(QuantFormat.NVFP4, matrix.format());
    for (int row = 0; row < matrix.rows(); row++) {
      int columns = matrix.columns();
      assertRow(raw.data(prefix + weight), row * columns / 2, matrix, row);
      assertScales(raw.data(prefix + "weight_scale"), row * columns / 16, matrix, row);
    }
  }

  private static void assertRow(byte[] expected, int offset, WeightMatrix matrix, int row) {
    int bytes = (int) matrix.format().codesSpec(1, matrix.columns()).bytes();
    assertBytes(expected, offset, matrix.codes(), row * matrix.rowStride(), bytes);
  }

  private static void assertScales(byte[] expected, int offset, WeightMatrix matrix, int row) {
    int bytes = matrix.columns() / matrix.format().block();
    assertBytes(
        expected, offset, matrix.scales().orElseThrow(), row * matrix.scaleRowStride(), bytes);
  }

  private static void assertBias(byte[] expected, int element, WeightMatrix matrix, int row) {
    WeightMatrix.Bias bias = matrix.bias().orElseThrow();
    int bytes = bias.dtype().bytes();
    assertBytes(expected, element * bytes, bias.values(), row * bias.stride() * bytes, bytes);
  }

  private static void assertBytes(
      byte[] expected, int offset, ByteBuffer found, long start, int bytes) {
    byte[] slice = new byte[bytes];
    found.get((int) start, slice);
    assertEquals(
        Arrays.toString(Arrays.copyOfRange(expected, offset, offset + bytes)),
        Arrays.toString(slice));
  }
}
