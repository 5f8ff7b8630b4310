package io.moe4j.tests.gpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.CudaGraph;
import io.moe4j.CudaStream;
import io.moe4j.DeviceCounters;
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
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.SizeTPointer;
import org.junit.jupiter.api.Test;

/**
 * Eight threads, two layers: runs and replays, and streams, graphs, tensors and workspaces that
 * come and go, for as long as {@code -Dmoe4j.tests.soak.seconds} says. The bits stay the same, and
 * the device's memory is what it was. Other processes may use the device from "soak: begins" on;
 * what they hold then has to come back for the soak to pass.
 */
@OnCuda
class DeviceSoakTest {
  private static final int THREADS = 8;
  private static final int VARIANTS = 6;
  private static final Duration SOAK =
      Duration.ofSeconds(Long.getLong("moe4j.tests.soak.seconds", 5));

  private static final Duration WARM_UP = SOAK.dividedBy(20);

  /** How long other processes may outlast the soak. */
  private static final Duration OTHERS = Duration.ofMinutes(5);

  /** The driver takes memory in pieces of 2 MiB. */
  private static final long PIECE = 2 << 20;

  private final AtomicLong runs = new AtomicLong();

  /** A layer, and what it makes of some calls. */
  private record Subject(MoeLayer layer, LayerDraw draw, Tactic tactic, Variants variants) {}

  @Test
  void nothingLeaksAndNothingChanges() throws Exception {
    LayerDraw small =
        LayerDraw.PLAIN.sizes(12, 8).experts(16, 4).tokens(5).mode(RoutingMode.FROM_LOGITS);
    LayerDraw large =
        LayerDraw.PLAIN
            .formats(QuantFormat.MXFP4, QuantFormat.BF16)
            .sizes(16, 8)
            .experts(8, 2)
            .tokens(96);
    TestLayer smallNumbers = small.layer();
    TestLayer largeNumbers = large.layer();
    try (MoeDevice device = TestDevice.open();
        MoeLayer smallLayer = device.prepare(smallNumbers.spec(), smallNumbers);
        MoeLayer largeLayer = device.prepare(largeNumbers.spec(), largeNumbers)) {
      List<Subject> subjects = List.of(subject(smallLayer, small), subject(largeLayer, large));
      // What the driver and the compiler keep, they have by then.
      soak(subjects, WARM_UP);
      DeviceCounters before = device.counters();
      long freeBefore = freeBytes();
      runs.set(0);
      System.out.println("soak: begins");
      soak(subjects, SOAK);
      DeviceCounters after = device.counters();
      long lost = lostSince(freeBefore);
      System.out.printf(
          "soak: %d runs by %d threads in %d s; device memory: %d KiB less%n",
          runs.get(), THREADS, SOAK.toSeconds(), lost / 1024);
      assertEquals(before.liveBytes(), after.liveBytes());
      assertEquals(before.liveAllocations(), after.liveAllocations());
      assertEquals(before.liveLayers(), after.liveLayers());
      assertTrue(lost <= PIECE, lost + " bytes of device memory are gone after " + runs + " runs");
      assertEquals(0, MoeDevice.leakedResources());
    }
  }

  private static Subject subject(MoeLayer layer, LayerDraw draw) {
    Tactic tactic = layer.tactics(draw.call().tokens()).get(0);
    return new Subject(layer, draw, tactic, Variants.draw(layer, draw, tactic, VARIANTS));
  }

  private void soak(List<Subject> subjects, Duration time) throws Exception {
    long end = System.nanoTime() + time.toNanos();
    ExecutorService threads = Executors.newFixedThreadPool(THREADS);
    List<Future<?>> futures = new ArrayList<>();
    for (int thread = 0; thread < THREADS; thread++) {
      SplittableRandom random = new SplittableRandom(thread);
      futures.add(
          threads.submit(
              () -> {
                while (System.nanoTime() < end) {
                  comeRunAndGo(subjects.get(random.nextInt(subjects.size())), random);
                }
              }));
    }
    threads.shutdown();
    for (Future<?> future : futures) {
      future.get();
    }
  }

  private void comeRunAndGo(Subject subject, SplittableRandom random) {
    MoeLayer layer = subject.layer();
    try (CudaStream stream = layer.device().newStream();
        DeviceCall call = new DeviceCall(layer.device(), layer.spec(), subject.draw().call());
        Workspace workspace = layer.newWorkspace(call.call().tokens());
        CudaGraph graph =
            stream.capture(() -> layer.run(call.call(), subject.tactic(), workspace, stream))) {
      // The call was made on the default stream, which this one does not wait for.
      layer.device().synchronize(Stream.DEFAULT);
      for (int i = 0; i < 50; i++) {
        int variant = random.nextInt(VARIANTS);
        subject.variants().upload(variant, call, stream);
        int repeats = 1 + random.nextInt(20);
        for (int repeat = 0; repeat < repeats; repeat++) {
          if (random.nextBoolean()) {
            graph.replay(stream);
          } else {
            layer.run(call.call(), subject.tactic(), workspace, stream);
          }
        }
        runs.addAndGet(repeats);
        assertArrayEquals(
            subject.variants().outputs().get(variant),
            call.outputBytes(stream),
            subject.tactic() + " of " + subject.draw());
      }
    }
  }

  /** Bytes of device memory that are gone, once other processes have given theirs back. */
  private static long lostSince(long freeBefore) throws InterruptedException {
    long end = System.nanoTime() + OTHERS.toNanos();
    long lost = freeBefore - freeBytes();
    while (lost > PIECE && System.nanoTime() < end) {
      Thread.sleep(500);
      lost = freeBefore - freeBytes();
    }
    return lost;
  }

  private static long freeBytes() {
    SizeTPointer free = size();
    SizeTPointer total = size();
    assertEquals(0, cudart.cudaDeviceSynchronize());
    assertEquals(0, cudart.cudaMemGetInfo(free, total));
    return free.get();
  }

  /** In memory of the JVM's: JavaCPP's own has a limit, which a soak is beyond. */
  private static SizeTPointer size() {
    return new SizeTPointer(new BytePointer(ByteBuffer.allocateDirect(Long.BYTES)));
  }
}
