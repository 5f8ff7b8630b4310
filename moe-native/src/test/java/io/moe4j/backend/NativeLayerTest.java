package io.moe4j.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import io.moe4j.DeviceCounters;
import io.moe4j.DeviceOptions;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeDevice;
import io.moe4j.Stream;
import io.moe4j.Tactic;
import java.lang.management.ManagementFactory;
import java.util.List;
import org.junit.jupiter.api.Test;

/** A layer from Java to native code and back: results, counters, and what a launch costs. */
final class NativeLayerTest {
  private static final int RUNS = 1000;

  @Test
  void everyTacticComputesTheDefinition() {
    try (MoeDevice device = MoeDevice.open("cpu");
        TinyLayer tiny = new TinyLayer(device)) {
      List<Tactic> tactics = tiny.layer.tactics(TinyLayer.TOKENS);
      assertFalse(tactics.isEmpty());
      for (Tactic tactic : tactics) {
        tiny.layer.run(tiny.call, tactic, tiny.workspace, Stream.DEFAULT);
        assertArrayEquals(tiny.expected(), tiny.output(), tactic.name());
      }
    }
  }

  @Test
  void thePortableInstructionSetComputesTheSame() {
    DeviceOptions portable = DeviceOptions.DEFAULT.withMaxInstructionSet("portable").withThreads(1);
    try (MoeDevice device = MoeDevice.open("cpu", portable);
        TinyLayer tiny = new TinyLayer(device)) {
      tiny.layer.run(tiny.call, tiny.workspace);
      assertArrayEquals(tiny.expected(), tiny.output());
      assertEquals(1, device.info().computeUnits());
    }
  }

  @Test
  void countersTellWhatIsAliveAndWhatRan() {
    try (MoeDevice device = MoeDevice.open("cpu")) {
      try (TinyLayer tiny = new TinyLayer(device)) {
        tiny.layer.run(tiny.call, tiny.workspace);
        DeviceCounters counters = device.counters();
        assertEquals(1, counters.launches());
        assertEquals(0, counters.routingLaunches());
        assertEquals(1, counters.liveLayers());
        assertTrue(counters.liveBytes() >= tiny.layer.preparedBytes(), counters::toString);
      }
      DeviceCounters counters = device.counters();
      assertEquals(0, counters.liveBytes());
      assertEquals(0, counters.liveLayers());
      assertEquals(0, counters.liveAllocations());
    }
  }

  @Test
  void aTacticThatTheDeviceDoesNotHaveIsRefusedByName() {
    try (MoeDevice device = MoeDevice.open("cpu");
        TinyLayer tiny = new TinyLayer(device)) {
      Tactic unknown = new Tactic("no.such", 4711);
      InvalidArgumentException e =
          assertThrows(
              InvalidArgumentException.class,
              () -> tiny.layer.run(tiny.call, unknown, tiny.workspace, Stream.DEFAULT));
      assertEquals("tactic", e.argument());
    }
  }

  @Test
  void aLaunchAllocatesNothingOnTheHeap() {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    try (MoeDevice device = MoeDevice.open("cpu");
        TinyLayer tiny = new TinyLayer(device)) {
      // The least of some batches: while code is still being compiled, the JVM itself allocates a
      // few hundred bytes now and then. A launch that allocated would do so in every batch.
      long bytes = Long.MAX_VALUE;
      for (int batch = 0; batch < 10; batch++) {
        bytes = Math.min(bytes, bytesAllocatedByRuns(threads, tiny));
      }
      assertEquals(0, bytes);
    }
  }

  private static long bytesAllocatedByRuns(ThreadMXBean threads, TinyLayer tiny) {
    long before = threads.getCurrentThreadAllocatedBytes();
    for (int i = 0; i < RUNS; i++) {
      tiny.layer.run(tiny.call, tiny.workspace);
    }
    return threads.getCurrentThreadAllocatedBytes() - before;
  }

  @Test
  void nativeBytesReturnToZeroHoweverOftenLayersComeAndGo() {
    try (MoeDevice device = MoeDevice.open("cpu")) {
      long alive = -1;
      for (int i = 0; i < 200; i++) {
        try (TinyLayer tiny = new TinyLayer(device)) {
          tiny.layer.run(tiny.call, tiny.workspace);
          if (alive < 0) {
            alive = device.counters().liveBytes();
          }
          assertEquals(alive, device.counters().liveBytes());
        }
        assertEquals(0, device.counters().liveBytes());
      }
    }
  }
}
