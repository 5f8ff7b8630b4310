package io.moe4j.tests.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.DType;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;
import io.moe4j.tests.checkpoint.ProjectionFiles.Quantizer;
import io.moe4j.tests.checkpoint.TestBlock.Expected;
import io.moe4j.tests.fixtures.Bytes;
import io.moe4j.tests.fixtures.Judge;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.oracle.Bf16;
import io.moe4j.tests.oracle.RoutingOracle;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The packaged application's {@code run} on checkpoints of every family, judged by the oracle. */
class CheckpointRunIT {
  private static final int HIDDEN = 2880;
  private static final int INTERMEDIATE = 320;

  /** Where a run takes its experts from. */
  private enum Given {
    ROUTER,
    LOGITS,
    TOP_K
  }

  @TempDir Path folder;

  private TestBlock block;
  private int layer;

  @Test
  void gptOss() throws Exception {
    block = gptOssBlock(DType.BF16);
    layer = GptOssFiles.LAYER;
    GptOssFiles.write(folder, block);
    run(QuantFormat.BF16, Given.ROUTER, tokens(33));
    run(QuantFormat.BF16, Given.LOGITS, tokens(1));
    run(QuantFormat.BF16, Given.TOP_K, f32Tokens(7));
    run(QuantFormat.MXFP8, Given.ROUTER, tokens(2));
  }

  @Test
  void gptOssOfOpenAiWithF32Biases() throws Exception {
    block = gptOssBlock(DType.F32);
    layer = GptOssFiles.LAYER;
    GptOssFiles.writeOpenAi(folder, block);
    run(QuantFormat.BF16, Given.ROUTER, tokens(1));
  }

  @ParameterizedTest
  @EnumSource(Quantizer.class)
  void qwen3(Quantizer quantizer) throws Exception {
    // Small: 9 and 5 blocks of 16.
    boolean large = quantizer == Quantizer.MODELOPT;
    boolean normalized = quantizer != Quantizer.COMPRESSED_TENSORS;
    block =
        TestBlock.draw(
            MoeSpec.builder()
                .weightFormat(QuantFormat.NVFP4)
                .hiddenSize(large ? HIDDEN : 144)
                .intermediateSize(large ? INTERMEDIATE : 80)
                .numExperts(large ? 5 : 24)
                .topK(large ? 2 : 8)
                .routing(new RoutingSpec(RoutingMethod.RENORMALIZE_NAIVE, 1, 1, 1f, normalized))
                .build(),
            null,
            large ? 3 : 4);
    layer = ProjectionFiles.LAYER;
    ProjectionFiles.write(folder, block, quantizer);
    run(QuantFormat.BF16, Given.ROUTER, tokens(33));
    run(QuantFormat.NVFP4, Given.ROUTER, tokens(33));
    run(QuantFormat.NVFP4, Given.TOP_K, tokens(1));
  }

  @ParameterizedTest
  @EnumSource(Quantizer.class)
  void mixtral(Quantizer quantizer) throws Exception {
    block = mixtral(QuantFormat.NVFP4, quantizer == Quantizer.MODELOPT);
    layer = ProjectionFiles.LAYER;
    ProjectionFiles.write(folder, block, quantizer);
    run(QuantFormat.BF16, Given.ROUTER, tokens(33));
    run(QuantFormat.NVFP4, Given.ROUTER, tokens(4));
    run(QuantFormat.BF16, Given.LOGITS, tokens(1));
  }

  @Test
  void mixtralInBf16() throws Exception {
    block = mixtral(QuantFormat.BF16, false);
    layer = ProjectionFiles.LAYER;
    ProjectionFiles.write(folder, block, Quantizer.MODELOPT);
    run(QuantFormat.BF16, Given.ROUTER, tokens(9));
  }

  private static TestBlock mixtral(QuantFormat weights, boolean large) {
    return TestBlock.draw(
        MoeSpec.builder()
            .weightFormat(weights)
            .hiddenSize(large ? HIDDEN : 144)
            .intermediateSize(large ? INTERMEDIATE : 80)
            .numExperts(8)
            .topK(2)
            .routing(RoutingSpec.of(RoutingMethod.RENORMALIZE))
            .build(),
        null,
        11);
  }

  @Test
  void routerSeesF32HiddenStatesUnrounded() throws Exception {
    block = gptOssBlock(DType.BF16);
    layer = GptOssFiles.LAYER;
    GptOssFiles.write(folder, block);
    SplittableRandom random = new SplittableRandom(3);
    List<double[]> tokens =
        Stream.generate(() -> f32Token(random)).filter(this::isTurnedByRounding).limit(3).toList();
    run(QuantFormat.BF16, Given.ROUTER, tokens);
  }

  /** Whether rounding a token to BF16 changes its experts, though in F32 they are beyond doubt. */
  private boolean isTurnedByRounding(double[] x) {
    RoutingOracle.Choice choice = block.route(block.logits(x));
    double[] rounded = Arrays.stream(x).map(Bf16::round).toArray();
    return choice.margin() > 1e-5
        && !Arrays.equals(choice.ids(), block.route(block.logits(rounded)).ids());
  }

  @Test
  void deepSeekV3WithSharedExpertsInBf16() throws Exception {
    block = deepSeekV3(128, 48).withShared(48, QuantFormat.BF16, 9);
    layer = ProjectionFiles.LAYER;
    ProjectionFiles.write(folder, block, Quantizer.MODELOPT);
    run(QuantFormat.BF16, Given.ROUTER, tokens(33));
    run(QuantFormat.NVFP4, Given.LOGITS, tokens(9));
    run(QuantFormat.BF16, Given.TOP_K, tokens(1));
  }

  @Test
  void deepSeekV3WithTwoQuantizedSharedExperts() throws Exception {
    block = deepSeekV3(HIDDEN, INTERMEDIATE).withShared(2 * INTERMEDIATE, QuantFormat.NVFP4, 10);
    layer = ProjectionFiles.LAYER;
    ProjectionFiles.write(folder, block, Quantizer.COMPRESSED_TENSORS);
    run(QuantFormat.BF16, Given.ROUTER, tokens(5));
    run(QuantFormat.NVFP4, Given.ROUTER, tokens(5));
  }

  private static TestBlock gptOssBlock(DType biasDtype) {
    return TestBlock.draw(
            MoeSpec.builder()
                .weightFormat(QuantFormat.MXFP4)
                .hiddenSize(HIDDEN)
                .intermediateSize(INTERMEDIATE)
                .numExperts(6)
                .topK(4)
                .routing(RoutingSpec.of(RoutingMethod.RENORMALIZE))
                .build(),
            biasDtype,
            7)
        .withActivation(1.702f, 1f, 7f);
  }

  private static TestBlock deepSeekV3(int hidden, int intermediate) {
    return TestBlock.draw(
        MoeSpec.builder()
            .weightFormat(QuantFormat.NVFP4)
            .hiddenSize(hidden)
            .intermediateSize(intermediate)
            .numExperts(8)
            .topK(3)
            .routing(RoutingSpec.deepSeekV3(4, 2, 2.5f))
            .build(),
        null,
        8);
  }

  private List<double[]> tokens(int count) {
    SplittableRandom random = new SplittableRandom(count);
    return Stream.generate(() -> block.decisiveToken(random)).limit(count).toList();
  }

  /** Tokens that BF16 has to round, for experts that do not depend on them. */
  private List<double[]> f32Tokens(int count) {
    SplittableRandom random = new SplittableRandom(count);
    return Stream.generate(() -> f32Token(random)).limit(count).toList();
  }

  private double[] f32Token(SplittableRandom random) {
    return Stream.generate(() -> (double) (float) random.nextGaussian())
        .limit(block.spec().hiddenSize())
        .mapToDouble(Double::doubleValue)
        .toArray();
  }

  /** Runs the application, with BF16 input and output or, for odd numbers of tokens, F32. */
  private void run(QuantFormat activations, Given given, List<double[]> tokens) throws Exception {
    DType dtype = tokens.size() % 2 == 0 ? DType.BF16 : DType.F32;
    List<Expected> routed = tokens.stream().map(x -> choice(given, x)).toList();
    Path input = folder.resolve("in.safetensors");
    Path output = folder.resolve("out.safetensors");
    input(given, dtype, tokens, routed).write(input);
    CliProcess process =
        CliProcess.run(
            folder,
            "run",
            "--checkpoint",
            folder,
            "--layer",
            layer,
            "--input",
            input,
            "--output",
            output,
            "--device",
            TestDevice.name(),
            "--threads",
            2,
            "--activations",
            activations.toString().toLowerCase(Locale.ROOT),
            "--output-dtype",
            dtype.toString().toLowerCase(Locale.ROOT));
    assertEquals(0, process.status(), process.err());
    check(
        new SafetensorsContents(output),
        dtype,
        block.expected(activations, tokens, routed),
        Judge.tolerance(activations));
  }

  private Expected choice(Given given, double[] x) {
    if (given != Given.TOP_K) {
      RoutingOracle.Choice choice = block.route(block.logits(x));
      return new Expected(choice.ids(), choice.weights(), null);
    }
    // Always the same experts: the others get no token.
    int topK = block.spec().topK();
    double[] weights = new double[topK];
    int[] ids = new int[topK];
    for (int slot = 0; slot < topK; slot++) {
      ids[slot] = block.spec().numExperts() - 1 - slot;
      weights[slot] = Bytes.round(DType.BF16, 0.3 + 0.1 * slot);
    }
    return new Expected(ids, weights, null);
  }

  private SafetensorsBuilder input(
      Given given, DType dtype, List<double[]> tokens, List<Expected> routed) {
    long count = tokens.size();
    SafetensorsBuilder input = new SafetensorsBuilder();
    input.add(
        "hidden_states",
        dtype.toString(),
        Bytes.of(dtype, flat(tokens.stream())),
        count,
        block.spec().hiddenSize());
    switch (given) {
      case ROUTER -> {}
      case LOGITS ->
          input.add(
              "router_logits",
              "F32",
              Bytes.of(DType.F32, flat(tokens.stream().map(block::logits))),
              count,
              block.spec().numExperts());
      case TOP_K -> {
        input.add(
            "topk_ids",
            "I32",
            Bytes.of(DType.I32, flat(routed.stream().map(CheckpointRunIT::doubles))),
            count,
            block.spec().topK());
        input.add(
            "topk_weights",
            dtype.toString(),
            Bytes.of(dtype, flat(routed.stream().map(Expected::weights))),
            count,
            block.spec().topK());
      }
    }
    return input;
  }

  private void check(
      SafetensorsContents contents, DType dtype, List<Expected> expected, double tolerance)
      throws IOException {
    assertEquals(dtype.toString(), contents.dtype("output"));
    assertEquals(
        List.of((long) expected.size(), (long) block.spec().hiddenSize()),
        contents.shape("output"));
    assertArrayEquals(
        flat(expected.stream().map(CheckpointRunIT::doubles)), contents.values("topk_ids"));
    assertArrayEquals(
        flat(expected.stream().map(Expected::weights)), contents.values("topk_weights"), 1e-5);
    double error =
        Judge.relativeError(
            flat(expected.stream().map(Expected::output)), contents.values("output"));
    assertTrue(error < tolerance, "relative L2 error " + error + " is not below " + tolerance);
  }

  private static double[] doubles(Expected expected) {
    return Arrays.stream(expected.ids()).asDoubleStream().toArray();
  }

  private static double[] flat(Stream<double[]> rows) {
    return rows.flatMapToDouble(Arrays::stream).toArray();
  }
}
