package io.moe4j.tests.gpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.DType;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeOutput;
import io.moe4j.QuantFormat;
import io.moe4j.Stream;
import io.moe4j.tests.fixtures.Bytes;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.Judge;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.ReadmeExample;
import io.moe4j.tests.fixtures.TestCall;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestLayer;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The README's decode loop: one graph, replayed with new hidden states for each step. */
@OnCuda
class ReadmeReplayTest {
  private static final int STEPS = 4;
  private static final LayerDraw DRAW = LayerDraw.PLAIN.tokens(3);

  @TempDir Path classes;

  @Test
  void everyStepIsThatOfItsOwnHiddenStates() throws Exception {
    Method decode = ReadmeExample.method("ReplayLayer", "decode", classes);
    TestLayer numbers = DRAW.layer();
    TestCall first = DRAW.call();
    List<TestCall> steps =
        IntStream.range(0, STEPS).mapToObj(step -> withHiddenStates(first, step)).toList();
    List<double[]> outputs = new ArrayList<>();
    UnaryOperator<ByteBuffer> next =
        output -> {
          outputs.add(values(output));
          return ByteBuffer.wrap(steps.get(outputs.size() - 1).hiddenStates().codes());
        };
    try (MoeDevice device = TestDevice.open();
        MoeLayer layer = device.prepare(numbers.spec(), numbers);
        DeviceCall call = new DeviceCall(device, numbers.spec(), first)) {
      call.poison();
      device.synchronize(Stream.DEFAULT);
      var y = ((MoeOutput.Finalized) call.call().output()).output();
      outputs.add(values((ByteBuffer) decode.invoke(null, layer, call.call(), y, STEPS, next)));
    }
    outputs.remove(0); // what was in the buffer before the first step
    assertEquals(STEPS, outputs.size());
    for (int step = 0; step < STEPS; step++) {
      double[] expected =
          steps.get(step).oracleTokens().stream()
              .flatMapToDouble(token -> Arrays.stream(numbers.oracle().output(token)))
              .toArray();
      double error = Judge.relativeError(expected, outputs.get(step));
      assertTrue(
          error < Judge.tolerance(QuantFormat.BF16), "step " + step + ": relative L2 " + error);
    }
  }

  /** A call whose routing stays, with other tokens. */
  private static TestCall withHiddenStates(TestCall call, int seed) {
    return new TestCall(
        call.routing(),
        DRAW.seed(100 + seed).call().hiddenStates(),
        null,
        null,
        null,
        call.outputDtype(),
        true);
  }

  private static double[] values(ByteBuffer bf16) {
    byte[] bytes = new byte[bf16.remaining()];
    bf16.duplicate().get(bytes);
    return Bytes.values(DType.BF16, bytes);
  }
}
