package io.moe4j.tests.numerics;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.moe4j.BlockFormats;
import io.moe4j.DType;
import io.moe4j.MoeDevice;
import io.moe4j.OwnedTensor;
import io.moe4j.QuantFormat;
import io.moe4j.Router;
import io.moe4j.Stream;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import io.moe4j.tests.fixtures.Bytes;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.oracle.BlockMatrix;
import io.moe4j.tests.oracle.Quantizers;
import io.moe4j.tests.oracle.SwizzledScales;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Quantizers, block-scale layouts and the router's projection, element by element. */
class BlockFormatsTest {
  private static final int ROWS = 33;
  private static final int COLUMNS = 96;

  private final List<OwnedTensor> owned = new ArrayList<>();
  private MoeDevice device;
  private BlockFormats formats;

  @BeforeEach
  void open() {
    device = TestDevice.open();
    formats = device.blockFormats();
  }

  @AfterEach
  void close() {
    owned.forEach(OwnedTensor::close);
    device.close();
  }

  @ParameterizedTest
  @CsvSource({
    "NVFP4, F32",
    "NVFP4, BF16",
    "MXFP4, F32",
    "MXFP4, BF16",
    "MXFP8, F32",
    "MXFP8, BF16"
  })
  void quantizesAsTheFormatsSay(QuantFormat format, DType dtype) {
    for (Values kind : Values.values()) {
      double[] values = kind.draw(dtype);
      float scale = format == QuantFormat.NVFP4 ? Quantizers.nvfp4TensorScale(values) : 1f;
      BlockMatrix expected = Quantizers.quantize(format, ROWS, COLUMNS, values, scale);

      Tensor codes = poisoned(format.codesSpec(ROWS, COLUMNS));
      Tensor scales = poisoned(format.scalesSpec(ROWS, COLUMNS));
      formats.quantize(format, upload(dtype, values), scale, codes, scales, Stream.DEFAULT);
      BlockMatrix found =
          new BlockMatrix(format, ROWS, COLUMNS, bytes(codes), bytes(scales), scale);
      assertArrayEquals(
          positiveZeros(expected.values()), positiveZeros(found.values()), kind + " " + format);
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = QuantFormat.class,
      names = {"NVFP4", "MXFP4", "MXFP8"})
  void dequantizesEveryCode(QuantFormat format) {
    SplittableRandom random = new SplittableRandom(1);
    byte[] codes = new byte[ROWS * BlockMatrix.rowBytes(format, COLUMNS)];
    for (int i = 0; i < codes.length; i++) {
      // All codes in turn; E4M3's two NaNs stay out.
      codes[i] = (byte) (format == QuantFormat.MXFP8 && (i & 0x7F) == 0x7F ? 0 : i);
    }
    byte[] scales = new byte[ROWS * BlockMatrix.scaleRowBytes(format, COLUMNS)];
    for (int i = 0; i < scales.length; i++) {
      scales[i] =
          (byte) (format == QuantFormat.NVFP4 ? random.nextInt(0x7F) : random.nextInt(100, 150));
    }
    float scale = format == QuantFormat.NVFP4 ? 0.37f : 1f;
    BlockMatrix matrix = new BlockMatrix(format, ROWS, COLUMNS, codes, scales, scale);
    Tensor values = poisoned(TensorSpec.of(DType.F32, ROWS, COLUMNS));
    formats.dequantize(
        format,
        upload(format.codesSpec(ROWS, COLUMNS), codes),
        upload(format.scalesSpec(ROWS, COLUMNS), scales),
        scale,
        values,
        Stream.DEFAULT);
    double[] expected = matrix.values();
    double[] found = DeviceCall.values(values);
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], found[i], Math.abs(expected[i]) * 1e-6, "element " + i);
    }
  }

  @ParameterizedTest
  @CsvSource({"1, 1", "128, 4", "129, 5", "33, 90", "257, 7"})
  void swizzlesBothWays(int rows, int columns) {
    byte[] linear = new byte[rows * columns];
    new SplittableRandom(rows).nextBytes(linear);
    Tensor swizzled = poisoned(formats.swizzledSpec(DType.E4M3, rows, columns));
    Tensor source = upload(TensorSpec.of(DType.E4M3, rows, columns), linear);
    formats.swizzle(source, swizzled, Stream.DEFAULT);
    assertArrayEquals(SwizzledScales.swizzle(rows, columns, linear), bytes(swizzled));
    Tensor back = poisoned(source.spec());
    formats.unswizzle(swizzled, back, Stream.DEFAULT);
    assertArrayEquals(linear, bytes(back));
  }

  @ParameterizedTest
  @CsvSource({"F32, F32, F32", "BF16, BF16, BF16", "F32, BF16, F32", "BF16, F32, BF16"})
  void projectsLogits(DType hidden, DType weight, DType bias) {
    int tokens = 3;
    int experts = 7;
    int size = 45;
    double[] x = gaussians(hidden, tokens * size);
    double[] w = gaussians(weight, experts * size);
    double[] b = gaussians(bias, experts);
    Tensor logits = poisoned(TensorSpec.of(DType.F32, tokens, experts));
    new Router(
            upload(TensorSpec.of(weight, experts, size), Bytes.of(weight, w)),
            Optional.of(upload(TensorSpec.of(bias, experts), Bytes.of(bias, b))))
        .logits(
            upload(TensorSpec.of(hidden, tokens, size), Bytes.of(hidden, x)),
            logits,
            Stream.DEFAULT);
    double[] found = DeviceCall.values(logits);
    for (int i = 0; i < found.length; i++) {
      double expected = b[i % experts];
      for (int c = 0; c < size; c++) {
        expected += x[i / experts * size + c] * w[i % experts * size + c];
      }
      assertEquals(expected, found[i], 1e-5, "logit " + i);
    }
  }

  @Test
  void quantizesNothing() {
    QuantFormat format = QuantFormat.NVFP4;
    formats.quantize(
        format,
        poisoned(TensorSpec.of(DType.F32, 0, COLUMNS)),
        1f,
        poisoned(format.codesSpec(0, COLUMNS)),
        poisoned(format.scalesSpec(0, COLUMNS)),
        Stream.DEFAULT);
  }

  /** What a matrix to be quantized may look like. */
  private enum Values {
    NORMAL,
    /** Magnitudes over many powers of two, from block to block and within. */
    WIDE,
    /** Zero blocks between others. */
    GAPS,
    /** Small integers, which meet ties. */
    TIES;

    double[] draw(DType dtype) {
      SplittableRandom random = new SplittableRandom(17);
      double[] values = new double[ROWS * COLUMNS];
      Arrays.setAll(
          values,
          i ->
              Bytes.round(
                  dtype,
                  switch (this) {
                    case NORMAL -> random.nextGaussian();
                    case WIDE -> random.nextGaussian() * Math.scalb(1.0, random.nextInt(-20, 20));
                    case GAPS -> i / 32 % 3 == 0 ? 0 : random.nextGaussian();
                    case TIES -> random.nextInt(-24, 25) * 0.25;
                  }));
      return values;
    }
  }

  private static double[] gaussians(DType dtype, int count) {
    SplittableRandom random = new SplittableRandom(count);
    return random.doubles(count).map(unused -> Bytes.round(dtype, random.nextGaussian())).toArray();
  }

  /** A negative number may round to negative zero, which is as good as zero. */
  private static double[] positiveZeros(double[] values) {
    return Arrays.stream(values).map(value -> value + 0.0).toArray();
  }

  private Tensor upload(DType dtype, double[] values) {
    return upload(TensorSpec.of(dtype, ROWS, COLUMNS), Bytes.of(dtype, values));
  }

  private Tensor upload(TensorSpec spec, byte[] bytes) {
    OwnedTensor tensor = device.upload(spec, ByteBuffer.wrap(bytes));
    owned.add(tensor);
    return tensor;
  }

  private Tensor poisoned(TensorSpec spec) {
    byte[] poison = new byte[(int) spec.bytes()];
    Arrays.fill(poison, (byte) 0xFF);
    return upload(spec, poison);
  }

  private static byte[] bytes(Tensor tensor) {
    byte[] bytes = new byte[(int) tensor.spec().bytes()];
    tensor.copyTo(ByteBuffer.wrap(bytes));
    return bytes;
  }
}
