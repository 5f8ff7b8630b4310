package io.moe4j.tests.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.DType;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingSpec;
import io.moe4j.tests.checkpoint.TestBlock.Expected;
import io.moe4j.tests.fixtures.Bytes;
import io.moe4j.tests.fixtures.Judge;
import io.moe4j.tests.fixtures.SourceCompiler;
import io.moe4j.tests.oracle.RoutingOracle;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The README's Java example compiles as it stands there, and does what it says. */
class ReadmeExampleTest {
  private static final Path README = Path.of("../README.md");
  private static final Pattern JAVA = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);
  private static final int TOKENS = 5;

  @TempDir Path classes;
  @TempDir Path checkpoint;

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
    ByteBuffer hiddenStates =
        Bytes.direct(
            Bytes.of(DType.BF16, tokens.stream().flatMapToDouble(Arrays::stream).toArray()));

    ByteBuffer output =
        (ByteBuffer)
            example().invoke(null, checkpoint, ProjectionFiles.LAYER, hiddenStates, (long) TOKENS);

    byte[] bytes = new byte[output.remaining()];
    output.get(bytes);
    double error = Judge.relativeError(expected(block, tokens), Bytes.values(DType.BF16, bytes));
    assertTrue(error < Judge.tolerance(QuantFormat.BF16), "relative L2 error " + error);
  }

  private Method example() throws Exception {
    Matcher matcher = JAVA.matcher(Files.readString(README));
    assertTrue(matcher.find(), README + " has no Java example");
    assertEquals(List.of(), SourceCompiler.errors("RunLayer", matcher.group(1), classes));
    URLClassLoader loader =
        new URLClassLoader(new URL[] {classes.toUri().toURL()}, getClass().getClassLoader());
    Method run =
        loader
            .loadClass("RunLayer")
            .getDeclaredMethod("run", Path.class, int.class, ByteBuffer.class, long.class);
    run.setAccessible(true);
    return run;
  }

  private static double[] expected(TestBlock block, List<double[]> tokens) {
    List<Expected> routed =
        tokens.stream()
            .map(
                x -> {
                  RoutingOracle.Choice choice = block.route(block.logits(x));
                  return new Expected(choice.ids(), choice.weights(), null);
                })
            .toList();
    return block.expected(QuantFormat.BF16, tokens, routed).stream()
        .map(Expected::output)
        .flatMapToDouble(Arrays::stream)
        .toArray();
  }
}
