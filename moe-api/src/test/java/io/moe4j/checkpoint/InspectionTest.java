package io.moe4j.checkpoint;

import static io.moe4j.testing.SyntheticModel.E;
import static io.moe4j.testing.SyntheticModel.H;
import static io.moe4j.testing.SyntheticModel.I;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.QuantFormat;
import io.moe4j.WeightMatrix;
import io.moe4j.checkpoint.Finding.Severity;
import io.moe4j.testing.RawTensors;
import io.moe4j.testing.SyntheticModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What inspection sees and says of sound and of spoilt layers. */
final class InspectionTest {
  private static final String MLP = "model.layers.3.mlp.";

  @TempDir Path folder;

  private LayerReport inspect(SyntheticModel model, String config) throws IOException {
    model.write(folder, config);
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      return checkpoint.inspect(3);
    }
  }

  /** A layer whose weights have a believable size. */
  private static SyntheticModel qwen3() {
    return new SyntheticModel(1).qwen3(3);
  }

  @Test
  void aSoundLayer() throws IOException {
    SyntheticModel model = qwen3();
    LayerReport report = inspect(model, SyntheticModel.QWEN3_CONFIG);
    assertEquals(E, report.spec().orElseThrow().numExperts());
    assertTrue(report.activationScales());
    assertEquals(
        List.of("gate", "up", "down"),
        report.projections().stream().map(ProjectionReport::name).toList());
    ProjectionReport down = report.projections().get(2);
    assertEquals(QuantFormat.NVFP4, down.format());
    assertEquals(List.of(E, H, I), List.of(down.experts(), down.rows(), down.columns()));
    assertEquals(E * H * I / 16, down.blockScales().count());
    assertEquals(SyntheticModel.scale(E - 1, 2), down.tensorScales().min());
    assertEquals(SyntheticModel.scale(0, 2), down.tensorScales().max());
    // Gate's and up's scales differ by design: information, not trouble.
    assertEquals(
        List.of(Severity.INFO), report.findings().stream().map(Finding::severity).toList());
    assertTrue(report.findings().get(0).message().contains("4 of 4 experts"));
  }

  @Test
  void findingsReadTheSameInEveryLocale() throws IOException {
    List<Finding> findings = inspect(qwen3(), SyntheticModel.QWEN3_CONFIG).findings();
    Locale locale = Locale.getDefault();
    Locale.setDefault(Locale.GERMANY);
    try {
      assertEquals(findings, inspect(qwen3(), SyntheticModel.QWEN3_CONFIG).findings());
    } finally {
      Locale.setDefault(locale);
    }
    assertTrue(findings.get(0).message().contains("."), findings::toString);
  }

  @Test
  void theSampleIsWhatTheFormatSays() throws IOException {
    // All codes 0x23 (low nibble 1.5, high nibble 1) and all block scales 2: values 3 and 2 times
    // the tensor scale, so a root mean square of sqrt(6.5) times it.
    SyntheticModel model = new SyntheticModel(1);
    for (int e = 0; e < E; e++) {
      for (String projection : List.of("gate_proj.", "up_proj.", "down_proj.")) {
        String prefix = MLP + "experts." + e + "." + projection;
        int rows = projection.startsWith("down") ? H : I;
        int columns = projection.startsWith("down") ? I : H;
        model
            .tensors
            .add(prefix + "weight", "U8", filled(rows * columns / 2, 0x23), rows, columns / 2)
            .add(
                prefix + "weight_scale",
                "F8_E4M3",
                filled(rows * columns / 16, 0x40),
                rows,
                columns / 16)
            .addF32(prefix + "weight_scale_2", new float[] {0.125f});
      }
    }
    model.tensors.addBf16(MLP + "gate.weight", new float[E * H], E, H);
    LayerReport report = inspect(model, SyntheticModel.QWEN3_CONFIG);
    for (ProjectionReport projection : report.projections()) {
      assertEquals(Math.sqrt(6.5) * 0.125, projection.sampledStd(), 1e-12);
      assertEquals(2.0, projection.blockScales().min());
      assertEquals(2.0, projection.blockScales().max());
    }
    assertFalse(report.activationScales());
    assertEquals(1, report.findings().size());
    assertTrue(report.findings().get(0).message().contains("input_scale"));
  }

  private static byte[] filled(int count, int value) {
    byte[] bytes = new byte[count];
    Arrays.fill(bytes, (byte) value);
    return bytes;
  }

  @Test
  void aGlobalScaleThatWasNotInverted() throws IOException {
    SyntheticModel model = new SyntheticModel(2).deepSeek(3);
    for (int e = 0; e < E; e++) {
      // A multiplier where the format has a divisor.
      model.tensors.addF32(
          MLP + "experts." + e + ".gate_proj.weight_global_scale",
          new float[] {SyntheticModel.scale(e, 0)},
          1);
    }
    LayerReport report = inspect(model, SyntheticModel.DEEPSEEK_CONFIG);
    Finding worst = report.findings().get(0);
    assertEquals(Severity.WARNING, worst.severity());
    assertEquals("gate", worst.subject());
    assertTrue(worst.message().contains("not inverted"), worst::message);
    assertEquals(
        List.of("gate", "up", "down", "shared.gate", "shared.up", "shared.down"),
        report.projections().stream().map(ProjectionReport::name).toList());
  }

  @Test
  void scalesThatAreNaN() throws IOException {
    SyntheticModel model = qwen3();
    model.tensors.data(MLP + "experts.1.up_proj.weight_scale")[5] = 0x7F;
    model.tensors.data(MLP + "experts.2.up_proj.weight_scale")[9] = (byte) 0xFF;
    Finding worst = inspect(model, SyntheticModel.QWEN3_CONFIG).findings().get(0);
    assertEquals(Severity.ERROR, worst.severity());
    assertEquals("up", worst.subject());
    assertTrue(worst.message().startsWith("2 of 512 block scales are NaN"), worst::message);
  }

  @Test
  void whatIsMissingIsNamedAndTheRestIsRead() throws IOException {
    SyntheticModel model = qwen3();
    model.tensors.remove(MLP + "experts.2.down_proj.weight_scale");
    LayerReport report = inspect(model, SyntheticModel.QWEN3_CONFIG);
    Finding worst = report.findings().get(0);
    assertEquals(Severity.ERROR, worst.severity());
    assertEquals("expert 2", worst.subject());
    assertTrue(worst.message().contains("experts.2.down_proj.weight_scale"), worst::message);
    assertEquals(E - 1, report.projections().get(0).experts());
    assertFalse(report.activationScales());
  }

  @Test
  void aLayerThatCannotBeReadAtAll() throws IOException {
    SyntheticModel model = qwen3();
    model.tensors.remove(MLP + "gate.weight");
    LayerReport report = inspect(model, SyntheticModel.QWEN3_CONFIG);
    assertTrue(report.spec().isEmpty());
    assertTrue(report.findings().get(0).message().contains("gate.weight"));
  }

  @Test
  void aMissingShard() throws IOException {
    qwen3().writeSharded(folder, SyntheticModel.QWEN3_CONFIG);
    Files.delete(folder.resolve(RawTensors.shardName(2, 3)));
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      assertEquals(RawTensors.shardName(2, 3), checkpoint.findings().get(0).subject());
      assertEquals(Severity.ERROR, checkpoint.inspect(3).findings().get(0).severity());
    }
  }

  @Test
  void gptOssScalesArePowersOfTwo() throws IOException {
    LayerReport report = inspect(new SyntheticModel(3).gptOss(3), SyntheticModel.GPT_OSS_CONFIG);
    ProjectionReport gate = report.projections().get(0);
    assertEquals(QuantFormat.MXFP4, gate.format());
    assertEquals(E * I * H / 32, gate.blockScales().count());
    assertEquals(0x1p-9, gate.blockScales().min());
    assertEquals(0x1p-4, gate.blockScales().max());
    assertEquals(0, gate.tensorScales().count());
    assertFalse(report.activationScales());
    assertTrue(report.findings().isEmpty());
  }

  /** Every E4M3 code against the value that its bits make as a float with other biases. */
  @Test
  void e4m3CodesHaveTheValuesOfTheirBits() {
    for (int code = 0; code < 256; code++) {
      // Put sign, exponent and mantissa where a float has them; rebias by a multiplication, which
      // also makes the subnormals right.
      float bits = Float.intBitsToFloat((code & 0x80) << 24 | (code & 0x7F) << 20);
      double expected = (code & 0x7F) == 0x7F ? Double.NaN : bits * 0x1p120;
      assertEquals(expected, BlockValues.e4m3(code), "code " + code);
    }
  }

  @Test
  void bf16RowsAreTheirValues() {
    ByteBuffer codes = ByteBuffer.allocateDirect(8).order(java.nio.ByteOrder.LITTLE_ENDIAN);
    codes.putShort(0, (short) 0x3FC0).putShort(2, (short) 0xC000);
    codes.putShort(4, (short) 0x0000).putShort(6, (short) 0x4040);
    WeightMatrix matrix = WeightMatrix.bf16(2, 2, codes);
    assertEquals(List.of(1.5, -2.0), Arrays.stream(BlockValues.row(matrix, 0)).boxed().toList());
    assertEquals(List.of(0.0, 3.0), Arrays.stream(BlockValues.row(matrix, 1)).boxed().toList());
  }
}
