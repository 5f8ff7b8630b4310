package io.moe4j.tests.numerics;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.QuantFormat;
import io.moe4j.Workspace;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.Judge;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestCall;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestLayer;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * A layer without a tuner takes every number of tokens, by the default for just that number: some
 * tactics take no more than 8 tokens, others 256. Sizes suit all of them.
 */
class DefaultTacticsTest {
  private static final Set<Integer> JUDGED = Set.of(1, 8, 9, 16, 256, 257, 511, 512);

  @ParameterizedTest
  @CsvSource({"NVFP4, 8, 128, 8, 520", "MXFP4, 4, 128, 8, 520", "BF16, 64, 16, 4, 260"})
  void everyTokenCountRunsWithItsOwnDefault(
      QuantFormat weights, int blocks, int experts, int topK, int mostTokens) {
    LayerDraw draw =
        LayerDraw.PLAIN
            .formats(weights, QuantFormat.BF16)
            .sizes(blocks, blocks)
            .experts(experts, topK);
    TestLayer numbers = draw.layer();
    try (MoeDevice device = TestDevice.open();
        MoeLayer layer = device.prepare(numbers.spec(), numbers);
        Workspace workspace = layer.newWorkspace(mostTokens)) {
      IntStream.concat(IntStream.rangeClosed(1, 16), IntStream.rangeClosed(250, mostTokens))
          .forEach(tokens -> run(layer, workspace, numbers, draw.tokens(tokens)));
    }
  }

  private static void run(MoeLayer layer, Workspace workspace, TestLayer numbers, LayerDraw draw) {
    TestCall callNumbers = draw.call();
    int tokens = callNumbers.tokens();
    try (DeviceCall call = new DeviceCall(layer.device(), layer.spec(), callNumbers)) {
      assertEquals(layer.tactics(tokens).get(0), layer.tactic(call.call()), draw.toString());
      call.poison();
      layer.run(call.call(), workspace);
      if (JUDGED.contains(tokens)) {
        new Judge(numbers, callNumbers).check(call.call(), draw.toString());
      }
    }
  }
}
