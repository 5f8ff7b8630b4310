package io.moe4j.tests.badinput;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeDevice;
import io.moe4j.MoeException;
import io.moe4j.QuantFormat;
import io.moe4j.checkpoint.CheckpointException;
import io.moe4j.checkpoint.MoeCheckpoint;
import io.moe4j.tests.badinput.WrongCall.ThrowingConsumer;
import io.moe4j.tests.checkpoint.CheckpointFolder;
import io.moe4j.tests.checkpoint.SafetensorsBuilder;
import io.moe4j.tests.fixtures.TestDevice;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Damaged, incomplete and hostile checkpoints, opened and prepared on the real device. */
class BadCheckpointTest {
  @TempDir Path folder;

  private static WrongCall<CheckpointFolder> wrong(
      String what, String named, ThrowingConsumer<CheckpointFolder> damage) {
    return new WrongCall<>(what, CheckpointException.class, named, damage);
  }

  static List<WrongCall<CheckpointFolder>> files() {
    return List.of(
        wrong(
            "no configuration", "config.json", f -> Files.delete(f.path().resolve("config.json"))),
        wrong("no tensors", "safetensors", f -> Files.delete(f.file())),
        wrong("empty file", "model.safetensors", f -> Files.write(f.file(), new byte[0])),
        wrong("file of three bytes", "3 bytes", f -> Files.write(f.file(), new byte[3])),
        wrong("header of 2^60 bytes", "1152921504606846976", f -> f.headerLength(1L << 60)),
        wrong("header of 2^64 - 1 bytes", "18446744073709551615", f -> f.headerLength(-1)),
        wrong("header longer than the file", "header", f -> f.headerLength(99_000_000)),
        wrong("header of no bytes", "header", f -> f.headerLength(0)),
        wrong("header that is not JSON", "header", f -> f.header("{\"__meta", "<\"__meta")),
        wrong("header that is a list", "header", f -> f.header(header -> "[]")),
        wrong("text after the header", "header", f -> f.header(header -> header + "x")),
        wrong(
            "nested without end",
            "header",
            f -> f.header(header -> "{\"a\":{\"x\":" + "[".repeat(100_000))),
        wrong(
            "a tensor twice",
            "lm_head.weight",
            f ->
                f.header("\"model.norm.weight\"", "\"lm_head.weight\"")
                    .header(
                        "{\"__metadata__\"",
                        "{\"lm_head.weight\":{\"dtype\":\"U8\",\"shape\":[0],"
                            + "\"data_offsets\":[0,0]},\"__metadata__\"")),
        wrong("unknown dtype", "dtype", f -> f.header("\"U8\"", "\"U9\"")),
        wrong(
            "negative extent",
            "shape",
            f -> f.header("\"shape\":[4,64,2,16]", "\"shape\":[-4,-64,2,16]")),
        wrong(
            "shape of more than 2^63 bytes",
            "shape",
            f -> f.header("\"shape\":[4,64,2,16]", "\"shape\":[4294967296,4294967296,2,16]")),
        wrong(
            "offsets that run backwards",
            "data_offsets",
            f -> f.header("\"data_offsets\":[0,8]", "\"data_offsets\":[8,0]")),
        wrong(
            "offsets that are no integers",
            "data_offsets",
            f -> f.header("\"data_offsets\":[0,8]", "\"data_offsets\":[0.5,8.5]")),
        wrong(
            "overlapping offsets",
            "overlap",
            f -> f.header("\"data_offsets\":[8,8200]", "\"data_offsets\":[4,8196]")),
        wrong("truncated data", "truncated", f -> f.resize(-1)),
        wrong("surplus data", "data", f -> f.resize(1)),
        wrong(
            "missing shard",
            "model-00002-of-00002.safetensors",
            f -> Files.delete(f.sharded().path().resolve("model-00002-of-00002.safetensors"))),
        wrong(
            "shard outside the folder",
            "shard",
            f -> writeIndex(f, "\"a\": \"../model.safetensors\"")),
        wrong(
            "index without a map",
            "weight_map",
            f -> Files.writeString(f.path().resolve("model.safetensors.index.json"), "{}")));
  }

  static List<WrongCall<CheckpointFolder>> configurations() {
    return List.of(
        wrong("configuration that is not JSON", "config.json", f -> f.config("{\"arch", "?\"arch")),
        wrong("unknown model", "model_type", f -> f.config("\"gpt_oss\"", "\"gpt_boss\"")),
        wrong("no hidden size", "hidden_size", f -> f.config("\"hidden_size\"", "\"hidden\"")),
        wrong(
            "hidden size as text",
            "hidden_size",
            f -> f.config("\"hidden_size\": 64", "\"hidden_size\": \"64\"")),
        wrong(
            "negative number of experts",
            "num_local_experts",
            f -> f.config("\"num_local_experts\": 4", "\"num_local_experts\": -4")),
        wrong(
            "k > E",
            "topK",
            f -> f.config("\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 5")),
        wrong(
            "a hidden size that the tensors do not have",
            "gate_up_proj_blocks",
            f -> f.config("\"hidden_size\": 64", "\"hidden_size\": 96")),
        wrong(
            "an activation that gpt-oss does not have",
            "hidden_act",
            f -> f.config("\"silu\"", "\"gelu\"")),
        wrong("another quantization", "quantization", f -> f.config("\"mxfp4\"", "\"awq\"")));
  }

  static List<WrongCall<CheckpointFolder>> tensors() {
    return List.of(
        wrong(
            "no down projection",
            "down_proj_blocks",
            f -> f.tensors(t -> t.remove(f.name("experts.down_proj_blocks")))),
        wrong("no router", "router.weight", f -> f.tensors(t -> t.remove(f.name("router.weight")))),
        wrong(
            "blocks of another type",
            "down_proj_blocks",
            f ->
                f.tensors(
                    t ->
                        t.add(
                            f.name("experts.down_proj_blocks"),
                            "F32",
                            new byte[4 * 64 * 16],
                            4,
                            64,
                            1,
                            4))),
        wrong(
            "transposed scales",
            "down_proj_scales",
            f ->
                f.tensors(
                    t ->
                        t.add(
                            f.name("experts.down_proj_scales"), "U8", new byte[4 * 64], 4, 1, 64))),
        wrong(
            "bias of too few rows",
            "down_proj_bias",
            f ->
                f.tensors(
                    t ->
                        t.add(
                            f.name("experts.down_proj_bias"),
                            "BF16",
                            new byte[4 * 63 * 2],
                            4,
                            63))),
        wrong(
            "a tensor that the model does not know",
            "experts.surprise",
            f -> f.tensors(t -> t.add(f.name("experts.surprise"), "U8", new byte[1], 1))),
        new WrongCall<>(
            "NaN in UE8M0 scales",
            MoeException.class,
            "scale",
            f ->
                f.tensors(
                    t ->
                        t.add(
                            f.name("experts.down_proj_scales"),
                            "U8",
                            filled(4 * 64, 0xFF),
                            4,
                            64,
                            1))));
  }

  static List<WrongCall<CheckpointFolder>> modelOptTensors() {
    String scale2 = "experts.1.gate_proj.weight_scale_2";
    String input = "experts.3.up_proj.input_scale";
    return List.of(
        wrong(
            "NaN tensor scale", scale2, f -> f.tensors(t -> scalar(t, f.name(scale2), Float.NaN))),
        wrong("negative tensor scale", scale2, f -> f.tensors(t -> scalar(t, f.name(scale2), -1f))),
        wrong(
            "infinite tensor scale",
            scale2,
            f -> f.tensors(t -> scalar(t, f.name(scale2), Float.POSITIVE_INFINITY))),
        wrong(
            "two tensor scales",
            scale2,
            f -> f.tensors(t -> t.add(f.name(scale2), "F32", new byte[8], 2))),
        wrong("no tensor scale", scale2, f -> f.tensors(t -> t.remove(f.name(scale2)))),
        wrong("zero input scale", input, f -> f.tensors(t -> scalar(t, f.name(input), 0f))),
        wrong("no input scale", input, f -> f.tensors(t -> t.remove(f.name(input)))),
        wrong(
            "an expert too few",
            "experts.3",
            f -> f.tensors(t -> t.removeAll(f.name("experts.3.")))),
        wrong("another algorithm", "NVFP4", f -> f.config("\"NVFP4\"", "\"FP8\"")),
        wrong(
            "an expert in BF16",
            "experts.2.down_proj",
            f ->
                f.tensors(
                    t -> {
                      t.removeAll(f.name("experts.2.down_proj."));
                      t.add(
                          f.name("experts.2.down_proj.weight"),
                          "BF16",
                          new byte[64 * 32 * 2],
                          64,
                          32);
                    })),
        new WrongCall<>(
            "NaN in E4M3 scales",
            MoeException.class,
            "scale",
            f ->
                f.tensors(
                    t ->
                        t.add(
                            f.name("experts.1.down_proj.weight_scale"),
                            "F8_E4M3",
                            filled(64 * 2, 0x7F),
                            64,
                            2))));
  }

  static List<WrongCall<CheckpointFolder>> compressedTensors() {
    String scale = "experts.0.up_proj.weight_global_scale";
    return List.of(
        wrong("divisor of zero", scale, f -> f.tensors(t -> scalar(t, f.name(scale), 0f))),
        wrong(
            "infinite divisor",
            scale,
            f -> f.tensors(t -> scalar(t, f.name(scale), Float.POSITIVE_INFINITY))),
        wrong(
            "divisor whose reciprocal overflows",
            scale,
            f -> f.tensors(t -> scalar(t, f.name(scale), Float.MIN_VALUE))),
        wrong(
            "ModelOpt's declaration",
            "modelopt",
            f -> f.config("\"compressed-tensors\"", "\"modelopt\"")));
  }

  @ParameterizedTest
  @MethodSource({"files", "configurations", "tensors"})
  void gptOssIsRefusedByName(WrongCall<CheckpointFolder> wrong) throws Throwable {
    check(wrong, CheckpointFolder.gptOss(folder), QuantFormat.BF16);
  }

  @ParameterizedTest
  @MethodSource("modelOptTensors")
  void modelOptIsRefusedByName(WrongCall<CheckpointFolder> wrong) throws Throwable {
    check(wrong, CheckpointFolder.modelOpt(folder), QuantFormat.NVFP4);
  }

  @ParameterizedTest
  @MethodSource("compressedTensors")
  void compressedTensorsIsRefusedByName(WrongCall<CheckpointFolder> wrong) throws Throwable {
    check(wrong, CheckpointFolder.compressedTensors(folder), QuantFormat.BF16);
  }

  @Test
  void aLayerWithoutExpertsIsRefusedByName() throws Exception {
    CheckpointFolder good = CheckpointFolder.gptOss(folder);
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(good.path())) {
      InvalidArgumentException thrown =
          assertThrows(InvalidArgumentException.class, () -> checkpoint.layer(0));
      assertEquals("layer", thrown.argument());
    }
  }

  @Test
  void noFolderIsRefusedByName() {
    Path missing = folder.resolve("missing");
    CheckpointException thrown =
        assertThrows(CheckpointException.class, () -> MoeCheckpoint.open(missing).close());
    assertTrue(thrown.getMessage().contains(missing.toString()));
  }

  /** Loads the checkpoint as it was written, then damaged; nothing may be left on the device. */
  private static void check(
      WrongCall<CheckpointFolder> wrong, CheckpointFolder checkpoint, QuantFormat activations)
      throws Throwable {
    try (MoeDevice device = TestDevice.open()) {
      assertDoesNotThrow(() -> checkpoint.load(device, activations));
      wrong.call().accept(checkpoint);
      Throwable thrown = assertThrows(Throwable.class, () -> checkpoint.load(device, activations));
      assertInstanceOf(wrong.type(), thrown, () -> "thrown: " + thrown);
      assertTrue(
          thrown.getMessage().contains(wrong.named()),
          () -> "\"" + wrong.named() + "\" is not named by: " + thrown.getMessage());
      assertTrue(thrown.getMessage().length() < 1000, "a message of bounded length");
      assertEquals(0, device.counters().liveBytes());
    }
  }

  private static void writeIndex(CheckpointFolder checkpoint, String entries) throws Exception {
    Files.writeString(
        checkpoint.path().resolve("model.safetensors.index.json"),
        "{\"weight_map\": {" + entries + "}}");
  }

  private static void scalar(SafetensorsBuilder tensors, String name, float value) {
    tensors.add(
        name, "F32", ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(value).array());
  }

  private static byte[] filled(int bytes, int value) {
    byte[] filled = new byte[bytes];
    Arrays.fill(filled, (byte) value);
    return filled;
  }
}
