package io.moe4j;

import static io.moe4j.LayerFixture.H;
import static io.moe4j.LayerFixture.T;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.spi.LaunchTimer;
import io.moe4j.testing.FakeProvider;
import io.moe4j.testing.FakeStreams;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Streams, events and graphs: what they hold open, and which mistakes are refused by name. */
@Timeout(60)
final class CudaStreamTest {
  private final LayerFixture f =
      new LayerFixture(LayerFixture.spec().build(), new FakeProvider(DeviceKind.CUDA, 1));
  private final FakeStreams fake = f.fake().fakeStreams();

  @AfterEach
  void closeEverything() {
    f.close();
    assertTrue(f.fake().isClosed());
  }

  @Test
  void aGraphHoldsWhatItsReplaysUse() {
    try (CudaStream stream = f.device.newStream()) {
      MoeCall call = f.call();
      OwnedTensor hidden = (OwnedTensor) call.hiddenStates().codes();
      CudaGraph graph = stream.capture(() -> f.layer.run(call, f.workspace, stream));
      assertThrows(ClosedException.class, hidden::close);
      assertThrows(ClosedException.class, f.workspace::close);
      assertThrows(ClosedException.class, f.layer::close);
      assertThrows(ClosedException.class, f.device::close);
      f.layer.run(call, f.workspace, stream);
      graph.replay(stream);
      graph.replay(Stream.DEFAULT);
      assertEquals(2, fake.replays());
      graph.close();
      graph.close();
      hidden.close();
      assertThrows(ClosedException.class, () -> graph.replay(stream));
    }
  }

  @Test
  void aGraphHoldsTheTensorsOfOtherOperations() {
    try (CudaStream stream = f.device.newStream()) {
      OwnedTensor hidden = f.tensor(DType.F32, T, H);
      OwnedTensor weight = f.tensor(DType.F32, 4, H);
      OwnedTensor logits = f.tensor(DType.F32, T, 4);
      Router router = new Router(weight, Optional.empty());
      CudaGraph graph = stream.capture(() -> router.logits(hidden, logits, stream));
      assertThrows(ClosedException.class, logits::close);
      graph.close();
      logits.close();
    }
  }

  @Test
  void aLeakedGraphIsFreedWithWhatItHeld() throws Exception {
    try (CudaStream stream = f.device.newStream()) {
      leakGraph(stream);
      for (int i = 0; i < 500 && fake.live() > 1; i++) {
        System.gc();
        Thread.sleep(10);
      }
      assertEquals(1, fake.live());
    }
  }

  private void leakGraph(CudaStream stream) {
    MoeCall call = f.call();
    assertEquals(f.device, stream.capture(() -> f.layer.run(call, f.workspace, stream)).device());
  }

  @Test
  void aFailedCaptureLeavesNothing() {
    try (CudaStream stream = f.device.newStream()) {
      MoeCall call = f.call();
      assertThrows(
          IllegalStateException.class,
          () ->
              stream.capture(
                  () -> {
                    f.layer.run(call, f.workspace, stream);
                    throw new IllegalStateException("the caller's");
                  }));
      assertRefused("launches", () -> stream.capture(() -> {}));
      assertRefused("launches", () -> stream.capture(() -> f.run(call)));
      ((OwnedTensor) call.hiddenStates().codes()).close();
      stream.synchronize();
    }
  }

  @Test
  void whatCannotBeCapturedIsRefused() {
    try (CudaStream stream = f.device.newStream();
        CudaEvent event = f.device.newEvent()) {
      MoeCall call = f.call();
      OwnedTensor tensor = f.tensor(DType.F32, 4);
      CudaGraph graph = stream.capture(() -> f.layer.run(call, f.workspace, stream));
      event.record(Stream.DEFAULT);
      ByteBuffer host = ByteBuffer.allocate(16);
      assertRefusedInCapture(stream, () -> f.device.copyToDevice(tensor, host, stream));
      assertRefusedInCapture(stream, () -> f.device.copyToHost(tensor, host, stream));
      assertRefusedInCapture(stream, stream::synchronize);
      assertRefusedInCapture(stream, () -> event.record(stream));
      assertRefusedInCapture(stream, () -> stream.waitFor(event));
      assertRefusedInCapture(stream, () -> graph.replay(stream));
      assertRefusedInCapture(stream, () -> stream.capture(() -> {}));
      assertThrows(ClosedException.class, () -> stream.capture(stream::close));
      graph.close();
    }
  }

  private static void assertRefusedInCapture(CudaStream stream, Runnable forbidden) {
    assertRefused("stream", () -> stream.capture(forbidden));
  }

  @Test
  void anotherThreadsWorkIsKeptOutOfACapture() {
    try (CudaStream stream = f.device.newStream();
        Workspace other = f.layer.newWorkspace(T)) {
      MoeCall call = f.call();
      CudaGraph graph =
          stream.capture(
              () -> {
                f.layer.run(call, f.workspace, stream);
                assertRefused(
                    "stream", () -> inAnotherThread(() -> f.layer.run(call, other, stream)));
              });
      graph.close();
    }
  }

  @Test
  void aStreamInUseIsNotCaptured() {
    try (CudaStream stream = f.device.newStream()) {
      MoeCall call = f.call();
      OwnedTensor tensor = f.tensor(DType.F32, 4);
      Runnable capture = () -> stream.capture(() -> f.layer.run(call, f.workspace, stream)).close();
      f.fake().onOperation(name -> assertRefused("stream", () -> inAnotherThread(capture)));
      f.device.copyToDevice(tensor, ByteBuffer.allocate(16), stream);
      f.fake().onOperation(name -> {});
      capture.run();
    }
  }

  private static void inAnotherThread(Runnable task) throws Throwable {
    ExecutorService executor = Executors.newSingleThreadExecutor();
    try {
      executor.submit(task).get();
    } catch (ExecutionException e) {
      throw e.getCause();
    } finally {
      executor.shutdown();
    }
  }

  @Test
  void eventsTellTimeBetweenMarks() {
    try (CudaStream stream = f.device.newStream();
        CudaEvent begin = f.device.newEvent();
        CudaEvent end = f.device.newEvent()) {
      assertRefused("event", end::isComplete);
      assertRefused("event", end::synchronize);
      assertRefused("event", () -> stream.waitFor(end));
      begin.record(stream);
      assertRefused("event", () -> end.nanosecondsSince(begin));
      f.layer.run(f.call(), f.workspace, stream);
      end.record(stream);
      stream.waitFor(end);
      assertTrue(end.isComplete());
      assertEquals(1000, end.nanosecondsSince(begin));
    }
  }

  @Test
  void whatWasClosedIsRefused() {
    CudaStream stream = f.device.newStream();
    CudaEvent event = f.device.newEvent();
    event.record(stream);
    event.close();
    stream.close();
    stream.close();
    assertThrows(ClosedException.class, event::synchronize);
    assertThrows(ClosedException.class, stream::handle);
    assertThrows(ClosedException.class, stream::synchronize);
    assertThrows(ClosedException.class, () -> stream.capture(() -> {}));
    assertThrows(ClosedException.class, () -> f.layer.run(f.call(), f.workspace, stream));
    assertEquals(0, fake.live());
  }

  @Test
  void streamsOfAnotherDeviceAreRefused() {
    try (MoeDevice other = new FakeProvider(DeviceKind.CUDA, 1).open();
        CudaStream stream = other.newStream();
        CudaEvent event = other.newEvent();
        CudaStream own = f.device.newStream()) {
      event.record(stream);
      assertRefused("stream", () -> f.layer.run(f.call(), f.workspace, stream));
      assertRefused("stream", () -> f.device.synchronize(stream));
      assertRefused("event", () -> own.waitFor(event));
      f.layer.run(f.call(), f.workspace, () -> 0xBEEFL);
    }
  }

  @Test
  void theProcessorHasNone() {
    try (MoeDevice cpu = new FakeProvider().open()) {
      assertRefused("device", cpu::newStream);
      assertRefused("device", cpu::newEvent);
    }
  }

  @Test
  void tuningReplaysWhatWasRecordedOnce() {
    MoeCall call = f.call();
    long launches = f.device.counters().launches();
    try (LaunchTimer timer = f.device.newLaunchTimer()) {
      LaunchTimer.Timing timing =
          timer.prepare(
              stream -> {
                f.layer.run(call, f.workspace, stream);
                f.layer.run(call, f.workspace, stream);
              });
      assertEquals(2000, timing.nanoseconds());
      assertEquals(2000, timing.nanoseconds());
      assertEquals(2, fake.replays());
      assertEquals(launches + 2, f.device.counters().launches());
      timing.close();
      assertThrows(
          DeviceException.class,
          () ->
              timer.prepare(
                  stream -> {
                    throw new DeviceException("a tactic that fails");
                  }));
      timer.prepare(stream -> f.layer.run(call, f.workspace, stream)).close();
    }
    assertEquals(0, fake.live());
  }

  @Test
  void aTimerIsAUseOfItsDeviceAndATimingOneOfItsTimer() {
    try (MoeDevice device = new FakeProvider(DeviceKind.CUDA, 1).open()) {
      LaunchTimer timer = device.newLaunchTimer();
      LaunchTimer.Timing timing = timer.prepare(stream -> {});
      assertThrows(ClosedException.class, device::close);
      assertThrows(ClosedException.class, timer::close);
      timing.close();
      timing.close();
      assertThrows(ClosedException.class, timing::nanoseconds);
      timer.close();
      timer.close();
      assertThrows(ClosedException.class, () -> timer.prepare(stream -> {}));
    }
  }

  @Test
  void aLeakedTimerIsFreedWithItsTimings() throws Exception {
    long leaked = MoeDevice.leakedResources();
    leakTimings();
    for (int i = 0; i < 500 && fake.live() > 0; i++) {
      System.gc();
      Thread.sleep(10);
    }
    assertEquals(0, fake.live());
    assertEquals(leaked + 1, MoeDevice.leakedResources());
  }

  private void leakTimings() {
    MoeCall call = f.call();
    LaunchTimer timer = f.device.newLaunchTimer();
    assertEquals(1000, timer.prepare(s -> f.layer.run(call, f.workspace, s)).nanoseconds());
    timer.prepare(s -> f.layer.run(call, f.workspace, s)).close();
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1})
  void aTimerThatIsNotMadeLeavesNothing(int events) {
    fake.limitEvents(events);
    assertThrows(DeviceException.class, f.device::newLaunchTimer);
    assertEquals(0, fake.live());
  }

  private static void assertRefused(String argument, Executable call) {
    InvalidArgumentException e = assertThrows(InvalidArgumentException.class, call);
    assertEquals(argument, e.argument(), e::getMessage);
  }
}
