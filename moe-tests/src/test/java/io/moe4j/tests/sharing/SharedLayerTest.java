package io.moe4j.tests.sharing;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import io.moe4j.ClosedException;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.RoutingMode;
import io.moe4j.Stream;
import io.moe4j.Tactic;
import io.moe4j.Workspace;
import io.moe4j.tests.fixtures.CallOption;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestLayer;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** A layer in the hands of several threads at once. */
class SharedLayerTest {
  private static final int THREADS = 8;
  private static final LayerDraw DRAW =
      LayerDraw.PLAIN
          .experts(16, 4)
          .tokens(7)
          .mode(RoutingMode.FROM_LOGITS)
          .options(CallOption.BIASES);

  @Test
  void eightThreadsGetTheSameBits() throws Exception {
    TestLayer numbers = DRAW.layer();
    try (MoeDevice device = TestDevice.open();
        MoeLayer layer = device.prepare(numbers.spec(), numbers)) {
      for (Tactic tactic : layer.tactics(7)) {
        byte[] expected = bits(layer, tactic, 1);
        List<Future<byte[]>> found = new ArrayList<>();
        ExecutorService threads = Executors.newFixedThreadPool(THREADS);
        for (int i = 0; i < THREADS; i++) {
          found.add(threads.submit(() -> bits(layer, tactic, 25)));
        }
        threads.shutdown();
        for (Future<byte[]> bits : found) {
          assertArrayEquals(expected, bits.get(), tactic.name());
        }
      }
    }
  }

  /** The bits of some runs, which have to agree with each other. */
  private static byte[] bits(MoeLayer layer, Tactic tactic, int runs) {
    try (DeviceCall call = new DeviceCall(layer.device(), layer.spec(), DRAW.call());
        Workspace workspace = layer.newWorkspace(7)) {
      byte[] first = null;
      for (int run = 0; run < runs; run++) {
        call.poison();
        layer.run(call.call(), tactic, workspace, Stream.DEFAULT);
        layer.device().synchronize(Stream.DEFAULT);
        byte[] bits = call.outputBytes();
        if (first != null) {
          assertArrayEquals(first, bits, tactic.name());
        }
        first = bits;
      }
      return first;
    }
  }

  /** Runs are so short that two threads rarely meet by chance: they try until they have. */
  @Test
  void twoThreadsWithOneWorkspaceAreTold() throws Exception {
    LayerDraw draw = LayerDraw.PLAIN.sizes(40, 40).tokens(64);
    TestLayer numbers = draw.layer();
    AtomicBoolean met = new AtomicBoolean();
    AtomicInteger runs = new AtomicInteger();
    try (MoeDevice device = TestDevice.open();
        MoeLayer layer = device.prepare(numbers.spec(), numbers);
        Workspace workspace = layer.newWorkspace(64)) {
      Runnable runner =
          () -> {
            try (DeviceCall call = new DeviceCall(device, numbers.spec(), draw.call())) {
              while (!met.get() && runs.incrementAndGet() < 10_000) {
                layer.run(call.call(), workspace);
              }
            } catch (InvalidArgumentException e) {
              assertEquals("workspace", e.argument());
              met.set(true);
            }
          };
      ExecutorService threads = Executors.newFixedThreadPool(2);
      List<Future<?>> futures = List.of(threads.submit(runner), threads.submit(runner));
      threads.shutdown();
      for (Future<?> future : futures) {
        future.get();
      }
    }
    assertTrue(met.get(), "no call was refused in " + runs + " runs");
  }

  @Test
  void closingWhileACallRunsIsRefused() throws Exception {
    LayerDraw draw = LayerDraw.PLAIN.sizes(40, 40).tokens(257);
    TestLayer numbers = draw.layer();
    AtomicBoolean done = new AtomicBoolean();
    try (MoeDevice device = TestDevice.open();
        MoeLayer layer = device.prepare(numbers.spec(), numbers);
        DeviceCall call = new DeviceCall(device, numbers.spec(), draw.call());
        Workspace workspace = layer.newWorkspace(257)) {
      assertThrows(ClosedException.class, device::close);
      Thread runner =
          new Thread(
              () -> {
                while (!done.get()) {
                  layer.run(call.call(), workspace);
                }
              });
      runner.start();
      try {
        long launches = device.counters().launches();
        while (device.counters().launches() < launches + 3) {
          Thread.onSpinWait();
        }
        // A close between two runs succeeds, so it is not tried on the layer itself.
        assertThrows(ClosedException.class, device::close);
      } finally {
        done.set(true);
        runner.join();
      }
    }
  }

  @Test
  void runsAllocateNothingOnTheJavaHeap() {
    TestLayer numbers = DRAW.layer();
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    try (MoeDevice device = TestDevice.open();
        MoeLayer layer = device.prepare(numbers.spec(), numbers);
        DeviceCall call = new DeviceCall(device, numbers.spec(), DRAW.call());
        Workspace workspace = layer.newWorkspace(7)) {
      int runs = 5000;
      // Until the compiler has seen the path often enough to remove what does not escape.
      long allocated = Long.MAX_VALUE;
      for (int attempt = 0; attempt < 10 && allocated >= runs; attempt++) {
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int run = 0; run < runs; run++) {
          layer.run(call.call(), workspace);
        }
        allocated = threads.getCurrentThreadAllocatedBytes() - before;
      }
      assertTrue(allocated < runs, allocated + " bytes in " + runs + " runs");
    }
  }
}
