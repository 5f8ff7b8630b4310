package io.moe4j.tests.sharing;

import io.moe4j.DeviceCounters;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.RoutingMode;
import io.moe4j.Workspace;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestLayer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;

/** Ten thousand runs by eight threads, and hundreds of layers: memory before and after. */
final class Soak {
  private static final int THREADS = 8;
  private static final int RUNS_OF_EACH = 10_000 / THREADS;
  private static final int LAYERS = 300;

  /** What a round may take from the system. A leak takes more, and does so in every round. */
  private static final long TOLERANCE_KIB = 4096;

  /** Rounds in which code is still compiled and allocators' arenas grow, and one without. */
  private static final int MAX_ROUNDS = 8;

  private static final LayerDraw DRAW =
      LayerDraw.PLAIN.sizes(2, 2).tokens(3).mode(RoutingMode.FROM_LOGITS);

  private Soak() {}

  public static void main(String[] arguments) throws Exception {
    TestLayer numbers = DRAW.layer();
    try (MoeDevice device = TestDevice.open()) {
      try (MoeLayer layer = device.prepare(numbers.spec(), numbers)) {
        byte[] expected = bits(layer, 1);
        Runnable runs = () -> check(expected, layer, RUNS_OF_EACH);
        repeat(runs);
        openAndClose(device, numbers);
        DeviceCounters before = device.counters();
        List<Long> growths = new ArrayList<>();
        do {
          long residentBefore = residentKib();
          repeat(runs);
          openAndClose(device, numbers);
          growths.add(residentKib() - residentBefore);
          DeviceCounters after = device.counters();
          verify(after.liveBytes() == before.liveBytes(), before + " became " + after);
          verify(after.liveAllocations() == before.liveAllocations(), before + " became " + after);
          verify(growths.size() < MAX_ROUNDS, "resident memory grew by KiB: " + growths);
        } while (growths.get(growths.size() - 1) >= TOLERANCE_KIB);
      }
      DeviceCounters end = device.counters();
      verify(end.liveBytes() == 0 && end.liveLayers() == 0, "left at the end: " + end);
      verify(MoeDevice.leakedResources() == 0, "leaked: " + MoeDevice.leakedResources());
    }
    System.out.println("the same bits, nothing left");
  }

  private static void repeat(Runnable runs) throws Exception {
    AtomicReference<Throwable> failure = new AtomicReference<>();
    List<Thread> threads = Stream.generate(() -> new Thread(runs)).limit(THREADS).toList();
    threads.forEach(
        thread -> thread.setUncaughtExceptionHandler((where, what) -> failure.set(what)));
    threads.forEach(Thread::start);
    for (Thread thread : threads) {
      thread.join();
    }
    if (failure.get() != null) {
      throw new AssertionError(failure.get());
    }
  }

  private static void check(byte[] expected, MoeLayer layer, int runs) {
    verify(Arrays.equals(expected, bits(layer, runs)), "bits differ");
  }

  private static byte[] bits(MoeLayer layer, int runs) {
    try (DeviceCall call = new DeviceCall(layer.device(), layer.spec(), DRAW.call());
        Workspace workspace = layer.newWorkspace(3)) {
      for (int run = 0; run < runs; run++) {
        layer.run(call.call(), workspace);
      }
      return call.outputBytes();
    }
  }

  private static void openAndClose(MoeDevice device, TestLayer numbers) {
    for (int i = 0; i < LAYERS; i++) {
      try (MoeLayer layer = device.prepare(numbers.spec(), numbers)) {
        layer.newWorkspace(3).close();
      }
    }
  }

  private static long residentKib() throws Exception {
    // Buffers of weights are freed when they are collected.
    System.gc();
    Thread.sleep(200);
    return Files.readAllLines(Path.of("/proc/self/status")).stream()
        .filter(line -> line.startsWith("VmRSS:"))
        .map(line -> line.replaceAll("[^0-9]", ""))
        .mapToLong(Long::parseLong)
        .findFirst()
        .orElseThrow();
  }

  private static void verify(boolean condition, String otherwise) {
    if (!condition) {
      throw new AssertionError(otherwise);
    }
  }
}
