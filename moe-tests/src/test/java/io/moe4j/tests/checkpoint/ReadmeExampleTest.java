package io.moe4j.tests.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.DType;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingMode;
import io.moe4j.RoutingSpec;
import io.moe4j.autotune.Autotuner;
import io.moe4j.autotune.Coverage;
import io.moe4j.autotune.TuningSource;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.checkpoint.MoeCheckpoint;
import io.moe4j.tests.checkpoint.TestBlock.Expected;
import io.moe4j.tests.fixtures.Bytes;
import io.moe4j.tests.fixtures.Judge;
import io.moe4j.tests.fixtures.ReadmeExample;
import io.moe4j.tests.fixtures.TestDevice;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The README's Java examples compile as they stand there, and the first does what it says. */
class ReadmeExampleTest {
  private static final int TOKENS = 5;

  @TempDir Path classes;
  @TempDir Path checkpoint;
  @TempDir Path cache;

  @Test
  void runsALayerOfACheckpoint() throws Exception {
    TestBlock block =
        TestBlock.draw(
            MoeSpec.builder()
                .weightFormat(QuantFormat.NVFP4)
                .hiddenSize(144)
                .intermediateSize(80)
                .numExperts(12)
                .topK(3)
                .routing(RoutingSpec.of(RoutingMethod.RENORMALIZE_NAIVE))
                .build(),
            null,
            5);
    ProjectionFiles.write(checkpoint, block, ProjectionFiles.Quantizer.MODELOPT);
    SplittableRandom random = new SplittableRandom(5);
    List<double[]> tokens =
        Stream.generate(() -> block.decisiveToken(random)).limit(TOKENS).toList();
    List<Expected> routed = routed(block, tokens);

    ByteBuffer output =
        (ByteBuffer)
            ReadmeExample.method("RunLayer", "run", classes)
                .invoke(
                    null,
                    checkpoint,
                    ProjectionFiles.LAYER,
                    (long) TOKENS,
                    buffer(DType.BF16, tokens.stream()),
                    buffer(
                        DType.I32,
                        routed.stream()
                            .map(choice -> Arrays.stream(choice.ids()).asDoubleStream().toArray())),
                    buffer(DType.F32, routed.stream().map(Expected::weights)));

    assertEquals(ByteOrder.LITTLE_ENDIAN, output.order());
    byte[] bytes = new byte[output.remaining()];
    output.get(bytes);
    double[] expected =
        block.expected(QuantFormat.BF16, tokens, routed).stream()
            .map(Expected::output)
            .flatMapToDouble(Arrays::stream)
            .toArray();
    double error = Judge.relativeError(expected, Bytes.values(DType.BF16, bytes));
    assertTrue(error < Judge.tolerance(QuantFormat.BF16), "relative L2 error " + error);
  }

  @Test
  void tunesALayerOnceForAllProcesses() throws Exception {
    TestBlock block =
        TestBlock.draw(
            MoeSpec.builder()
                .weightFormat(QuantFormat.MXFP4)
                .hiddenSize(64)
                .intermediateSize(32)
                .numExperts(4)
                .topK(2)
                .build(),
            DType.BF16,
            1);
    GptOssFiles.write(checkpoint, block);
    Method prepare = ReadmeExample.method("TuneLayer", "prepare", classes);
    CallKind kind = CallKind.of(RoutingMode.UNPACKED);
    for (TuningSource source : List.of(TuningSource.MEASURED, TuningSource.CACHED)) {
      Autotuner tuner =
          (Autotuner) ReadmeExample.method("TuneLayer", "tuner", classes).invoke(null, cache);
      try (MoeDevice device = TestDevice.open();
          MoeCheckpoint files = MoeCheckpoint.open(checkpoint);
          MoeLayer layer =
              (MoeLayer)
                  prepare.invoke(
                      null, device, files.layer(GptOssFiles.LAYER).routedExperts(), tuner)) {
        Coverage coverage = tuner.coverage(layer, kind, 1, 8192);
        coverage.requireComplete();
        assertEquals(source, coverage.shapes().get(1).selection().source());
      }
    }
  }

  /** {@link io.moe4j.tests.gpu} runs it. */
  @Test
  void theReplayForGpusCompiles() throws Exception {
    ReadmeExample.method("ReplayLayer", "decode", classes);
  }

  private static List<Expected> routed(TestBlock block, List<double[]> tokens) {
    return tokens.stream()
        .map(x -> block.route(block.logits(x)))
        .map(choice -> new Expected(choice.ids(), choice.weights(), null))
        .toList();
  }

  private static ByteBuffer buffer(DType dtype, Stream<double[]> rows) {
    return Bytes.direct(Bytes.of(dtype, rows.flatMapToDouble(Arrays::stream).toArray()));
  }
}
