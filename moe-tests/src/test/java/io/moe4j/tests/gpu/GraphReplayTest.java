package io.moe4j.tests.gpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import io.moe4j.CudaGraph;
import io.moe4j.CudaStream;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMode;
import io.moe4j.Stream;
import io.moe4j.Tactic;
import io.moe4j.Workspace;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestLayer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Replays of a graph are eager runs, bit for bit, whatever is in the tensors by then. */
@OnCuda
class GraphReplayTest {
  private static final int REPLAYS = 1000;
  private static final int VARIANTS = 20;
  private static final LayerDraw DRAW =
      LayerDraw.PLAIN.formats(QuantFormat.MXFP4, QuantFormat.BF16).sizes(8, 6).experts(16, 4);

  @ParameterizedTest
  @ValueSource(ints = {1, 7, 64, 257})
  void oneGraphServesChangingTokensAndRoutings(int tokens) {
    LayerDraw draw = DRAW.tokens(tokens).mode(RoutingMode.FROM_LOGITS);
    TestLayer numbers = draw.layer();
    try (MoeDevice device = TestDevice.open();
        MoeLayer layer = device.prepare(numbers.spec(), numbers)) {
      List<Tactic> tactics = layer.tactics(tokens);
      for (Tactic tactic : tactics) {
        Variants variants = Variants.draw(layer, draw, tactic, VARIANTS);
        int replays = tactic.equals(tactics.get(0)) ? REPLAYS : VARIANTS;
        try (CudaStream stream = device.newStream()) {
          replay(layer, tactic, draw, variants, replays, stream);
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {3, 96})
  void twoStreamsAtOnceDoNotDisturbEachOther(int tokens) throws Exception {
    LayerDraw draw = DRAW.tokens(tokens).mode(RoutingMode.UNPACKED);
    TestLayer numbers = draw.layer();
    try (MoeDevice device = TestDevice.open();
        MoeLayer layer = device.prepare(numbers.spec(), numbers);
        CudaStream first = device.newStream();
        CudaStream second = device.newStream()) {
      Tactic tactic = layer.tactics(tokens).get(0);
      Variants variants = Variants.draw(layer, draw, tactic, VARIANTS);
      ExecutorService threads = Executors.newFixedThreadPool(2);
      List<Future<?>> futures = new ArrayList<>();
      for (CudaStream stream : List.of(first, second)) {
        futures.add(threads.submit(() -> replay(layer, tactic, draw, variants, REPLAYS, stream)));
      }
      threads.shutdown();
      for (Future<?> future : futures) {
        future.get();
      }
    }
  }

  /** Captures a run once, and compares replays with the variants' eager runs. */
  private static void replay(
      MoeLayer layer,
      Tactic tactic,
      LayerDraw draw,
      Variants variants,
      int replays,
      CudaStream stream) {
    MoeDevice device = layer.device();
    try (DeviceCall call = new DeviceCall(device, layer.spec(), draw.call());
        Workspace workspace = layer.newWorkspace(call.call().tokens());
        CudaGraph graph = stream.capture(() -> layer.run(call.call(), tactic, workspace, stream))) {
      for (int replay = 0; replay < replays; replay++) {
        int variant = replay * 7 % variants.count();
        call.poison();
        device.synchronize(Stream.DEFAULT);
        variants.upload(variant, call, stream);
        graph.replay(stream);
        stream.synchronize();
        assertArrayEquals(
            variants.outputs().get(variant),
            call.outputBytes(),
            tactic + ": replay " + replay + " of " + draw);
      }
    }
  }
}
