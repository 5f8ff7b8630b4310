package io.moe4j.tests.gpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.CudaEvent;
import io.moe4j.CudaStream;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.RoutingMode;
import io.moe4j.Stream;
import io.moe4j.Tactic;
import io.moe4j.Workspace;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestLayer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Streams run their work in order; events order streams, and tell the device's time. */
@OnCuda
class StreamOrderTest {
  private static final LayerDraw DRAW =
      LayerDraw.PLAIN.sizes(32, 32).experts(16, 4).tokens(64).mode(RoutingMode.UNPACKED);

  private MoeDevice device;
  private MoeLayer layer;
  private DeviceCall call;
  private Workspace workspace;
  private CudaStream stream;

  @BeforeEach
  void open() {
    TestLayer numbers = DRAW.layer();
    device = TestDevice.open();
    layer = device.prepare(numbers.spec(), numbers);
    call = new DeviceCall(device, numbers.spec(), DRAW.call());
    workspace = layer.newWorkspace(64);
    stream = device.newStream();
    // The call was made on the default stream, which others do not wait for.
    device.synchronize(Stream.DEFAULT);
  }

  @AfterEach
  void close() {
    stream.close();
    workspace.close();
    call.close();
    layer.close();
    device.close();
  }

  @Test
  void aStreamWaitsForAnothersEvent() {
    Tactic tactic = layer.tactics(64).get(0);
    Variants variants = Variants.draw(layer, DRAW, tactic, 8);
    try (CudaStream reads = device.newStream();
        CudaEvent done = device.newEvent()) {
      for (int variant = 0; variant < variants.count(); variant++) {
        variants.upload(variant, call, stream);
        for (int run = 0; run < 20; run++) {
          layer.run(call.call(), tactic, workspace, stream);
        }
        done.record(stream);
        reads.waitFor(done);
        byte[] output = call.outputBytes(reads);
        assertArrayEquals(variants.outputs().get(variant), output, "variant " + variant);
        assertTrue(done.isComplete());
      }
    }
  }

  @Test
  void eventsTellHowLongTheDeviceTook() {
    try (CudaEvent begin = device.newEvent();
        CudaEvent end = device.newEvent()) {
      long host = System.nanoTime();
      begin.record(stream);
      for (int run = 0; run < 100; run++) {
        layer.run(call.call(), workspace, stream);
      }
      end.record(stream);
      double nanoseconds = end.nanosecondsSince(begin);
      host = System.nanoTime() - host;
      // No more than the host saw pass, and what a hundred layers take at least on any device.
      assertTrue(nanoseconds <= host && nanoseconds > 100_000, nanoseconds + " ns of " + host);
    }
  }
}
