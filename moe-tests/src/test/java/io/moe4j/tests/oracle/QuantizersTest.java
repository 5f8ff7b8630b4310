package io.moe4j.tests.oracle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.moe4j.QuantFormat;
import org.junit.jupiter.api.Test;

/** The oracle's block formats against matrices computed by hand. */
class QuantizersTest {

  @Test
  void nvfp4DividesABlockByItsRoundedScale() {
    double[] values = new double[32];
    values[0] = 3; // largest of the first block: scale 3 / 6 / 0.5 = 1
    values[1] = -1.25; // -1.25 / 0.5 = -2.5, a tie, to the even code of -2
    values[16] = 3.2; // scale 3.2 / 6 / 0.5 = 1.0667 -> 1.125; 3.2 / 0.5625 = 5.69 -> 6
    BlockMatrix matrix = Quantizers.quantize(QuantFormat.NVFP4, 1, 32, values, 0.5f);
    assertArrayEquals(new byte[] {0x38, 0x39}, matrix.scales());
    assertEquals((byte) 0xC7, matrix.codes()[0]);
    assertEquals(3, matrix.value(0, 0));
    assertEquals(-1, matrix.value(0, 1));
    assertEquals(6 * 0.5625, matrix.value(0, 16));
  }

  @Test
  void nvfp4BlockWhoseScaleRoundsToZeroIsZero() {
    double[] values = new double[16];
    values[3] = 1e-6;
    BlockMatrix matrix = Quantizers.quantize(QuantFormat.NVFP4, 1, 16, values, 1f);
    assertArrayEquals(new byte[8], matrix.codes());
    assertEquals(0, matrix.value(0, 3));
  }

  @Test
  void tensorScaleBringsTheLargestBlockScaleTo448() {
    double[] values = new double[16];
    values[5] = -26.88;
    float scale = Quantizers.nvfp4TensorScale(values);
    assertEquals(0.01f, scale, 1e-9);
    assertEquals(0x7E, Quantizers.quantize(QuantFormat.NVFP4, 1, 16, values, scale).scales()[0]);
  }

  @Test
  void mxfp4TakesTheSmallestPowerOfTwoThatDoesNotSaturate() {
    double[] values = new double[64];
    values[0] = 6;
    values[1] = 2.6;
    values[32] = 6.5;
    values[33] = -7;
    BlockMatrix matrix = Quantizers.quantize(QuantFormat.MXFP4, 1, 64, values, 1f);
    assertArrayEquals(new byte[] {127, (byte) 128}, matrix.scales());
    assertEquals(6, matrix.value(0, 0));
    assertEquals(3, matrix.value(0, 1));
    assertEquals(6, matrix.value(0, 32));
    assertEquals(-8, matrix.value(0, 33));
  }

  @Test
  void mxfp8KeepsThreeMantissaBits() {
    double[] values = new double[32];
    values[0] = 1000; // 1000 / 448 = 2.23, so the scale is 4; 250 rounds to 256
    values[1] = 1.1;
    BlockMatrix matrix = Quantizers.quantize(QuantFormat.MXFP8, 1, 32, values, 1f);
    assertEquals(129, matrix.scales()[0] & 0xFF);
    assertEquals(1024, matrix.value(0, 0));
    assertEquals(0.28125 * 4, matrix.value(0, 1));
  }

  @Test
  void fp8PerTokenScalesEachRowByItsLargestElement() {
    double[] values = new double[96];
    values[0] = 448; // scale 1
    values[47] = 0.3;
    values[48] = -449; // scale 2
    values[95] = 0.3;
    BlockMatrix matrix = Quantizers.quantize(QuantFormat.FP8_PER_TOKEN, 2, 48, values, 1f);
    assertArrayEquals(new byte[] {127, (byte) 128}, matrix.scales());
    assertEquals(448, matrix.value(0, 0));
    assertEquals(0.3125, matrix.value(0, 47));
    assertEquals(-448, matrix.value(1, 0));
    assertEquals(0.3125, matrix.value(1, 47));
  }

  @Test
  void lowNibbleIsTheEvenColumn() {
    BlockMatrix matrix =
        new BlockMatrix(
            QuantFormat.MXFP4,
            1,
            32,
            new byte[] {0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
            new byte[] {127},
            1f);
    assertEquals(.5, matrix.value(0, 0));
    assertEquals(1, matrix.value(0, 1));
  }

  @Test
  void swizzledScalesLieWhereTheLayoutSays() {
    int rows = 130;
    int columns = 5;
    byte[] linear = new byte[rows * columns];
    linear[0] = 1; // (0, 0)
    linear[33 * columns + 2] = 2; // (33, 2): row 1 of the second 32
    linear[129 * columns + 4] = 3; // (129, 4): tile (1, 1), row 1, column 0
    byte[] swizzled = SwizzledScales.swizzle(rows, columns, linear);
    assertEquals(4 * 512, swizzled.length);
    assertEquals(1, swizzled[0]);
    assertEquals(2, swizzled[1 * 16 + 1 * 4 + 2]);
    assertEquals(3, swizzled[3 * 512 + 16]);
  }
}
