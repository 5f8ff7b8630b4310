package io.moe4j;

import static io.moe4j.LayerFixture.H;
import static io.moe4j.LayerFixture.K;
import static io.moe4j.LayerFixture.T;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.testing.FakeProvider;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Resources are freed once: by their owner, or, counted, by the collector; never while in use. */
@Timeout(60)
final class ResourceLifeTest {

  @Test
  void closingTwiceDoesNothing() {
    FakeProvider provider = new FakeProvider();
    MoeDevice device = provider.open();
    OwnedTensor tensor = device.allocate(TensorSpec.of(DType.F32, 4));
    tensor.close();
    tensor.close();
    assertEquals(0, device.counters().liveAllocations());
    device.close();
    device.close();
    assertTrue(provider.device().isClosed());
  }

  @Test
  void aFreedTensorIsNamed() {
    try (LayerFixture f = new LayerFixture()) {
      OwnedTensor hidden = f.tensor(DType.BF16, T, H);
      MoeCall call = MoeCall.of(f.unpacked(), HiddenStates.bf16(hidden), f.output());
      hidden.close();
      ClosedException e = assertThrows(ClosedException.class, () -> f.run(call));
      assertTrue(e.getMessage().startsWith("hiddenStates: "), e::getMessage);
      assertEquals(0, f.device.counters().launches());
    }
  }

  @Test
  void aFailedRunReleasesWhatItHeld() {
    try (LayerFixture f = new LayerFixture()) {
      OwnedTensor first = f.tensor(DType.I32, T, K);
      OwnedTensor freed = f.tensor(DType.BF16, T, H);
      freed.close();
      Routing routing = new Routing.Unpacked(first, f.tensor(DType.F32, T, K));
      MoeCall call = MoeCall.of(routing, f.hiddenStates(), new MoeOutput.Finalized(freed));
      assertThrows(ClosedException.class, () -> f.run(call));
      first.close();

      f.fake()
          .onLaunch(
              (c, tactic) -> {
                throw new DeviceException("failed");
              });
      MoeCall second = f.call();
      assertThrows(DeviceException.class, () -> f.run(second));
      ((OwnedTensor) second.hiddenStates().codes()).close();
    }
  }

  @Test
  void usingWhatWasClosedIsRefused() {
    LayerFixture f = new LayerFixture();
    MoeCall call = f.call();
    Workspace spare = f.layer.newWorkspace(T);
    OwnedTensor tensor = f.device.allocate(TensorSpec.of(DType.F32, 4));
    tensor.close();
    assertThrows(ClosedException.class, tensor::address);
    assertThrows(ClosedException.class, tensor::buffer);
    assertThrows(ClosedException.class, () -> tensor.copyFrom(ByteBuffer.allocate(16)));
    assertThrows(ClosedException.class, () -> tensor.copyTo(ByteBuffer.allocate(16)));

    spare.close();
    assertThrows(ClosedException.class, () -> f.layer.run(call, spare));

    f.layer.close();
    assertThrows(ClosedException.class, () -> f.run(call));
    assertThrows(ClosedException.class, () -> f.layer.tactics(1));
    assertThrows(ClosedException.class, f.layer::preparedBytes);
    assertThrows(ClosedException.class, () -> f.layer.newWorkspace(1));

    f.close();
    assertThrows(ClosedException.class, () -> f.device.allocate(TensorSpec.of(DType.F32, 4)));
    assertThrows(ClosedException.class, f.device::counters);
    assertThrows(ClosedException.class, () -> f.device.synchronize(Stream.DEFAULT));
    assertThrows(
        ClosedException.class,
        () -> f.device.prepare(f.spec, expert -> LayerFixture.expert(f.spec)));
  }

  @Test
  void aDeviceClosesAfterAllThatLivesOnIt() {
    FakeProvider provider = new FakeProvider();
    MoeDevice device = provider.open();
    MoeSpec spec = LayerFixture.spec().build();
    MoeLayer layer = device.prepare(spec, expert -> LayerFixture.expert(spec));
    Workspace workspace = layer.newWorkspace(1);
    OwnedTensor tensor = device.allocate(TensorSpec.of(DType.F32, 1));
    for (AutoCloseableResource resource :
        List.<AutoCloseableResource>of(tensor::close, workspace::close, layer::close)) {
      assertThrows(ClosedException.class, device::close);
      resource.close();
    }
    device.close();
    assertTrue(provider.device().isClosed());
  }

  private interface AutoCloseableResource {
    void close();
  }

  @Test
  void nothingClosesWhileACallUsesIt() throws Exception {
    try (LayerFixture f = new LayerFixture()) {
      CountDownLatch launched = new CountDownLatch(1);
      CountDownLatch goOn = new CountDownLatch(1);
      f.fake()
          .onLaunch(
              (call, tactic) -> {
                launched.countDown();
                await(goOn);
              });
      MoeCall call = f.call();
      OwnedTensor hidden = (OwnedTensor) call.hiddenStates().codes();
      ExecutorService executor = Executors.newSingleThreadExecutor();
      try {
        Future<?> running = executor.submit(() -> f.run(call));
        await(launched);
        assertThrows(ClosedException.class, hidden::close);
        assertThrows(ClosedException.class, f.workspace::close);
        assertThrows(ClosedException.class, f.layer::close);
        InvalidArgumentException e =
            assertThrows(InvalidArgumentException.class, () -> f.run(call));
        assertEquals("workspace", e.argument());
        goOn.countDown();
        running.get();
      } finally {
        goOn.countDown();
        executor.shutdown();
      }
      assertEquals(1, f.device.counters().launches());
    }
  }

  @Test
  void operationsHoldTheirTensorsOpen() {
    try (LayerFixture f = new LayerFixture()) {
      OwnedTensor source = f.tensor(DType.F32, 2, 32);
      OwnedTensor codes = f.tensor(DType.E2M1X2, 2, 16);
      OwnedTensor scales = f.tensor(DType.E4M3, 2, 2);
      OwnedTensor swizzled = f.tensor(DType.E4M3, 512);
      OwnedTensor weight = f.tensor(DType.F32, 4, 32);
      OwnedTensor logits = f.tensor(DType.F32, 2, 4);
      BlockFormats formats = f.device.blockFormats();
      Router router = new Router(weight, Optional.empty());

      refusesToClose(f, source, codes, scales);
      formats.quantize(QuantFormat.NVFP4, source, 1f, codes, scales, Stream.DEFAULT);
      formats.dequantize(QuantFormat.NVFP4, codes, scales, 1f, source, Stream.DEFAULT);
      refusesToClose(f, scales, swizzled);
      formats.swizzle(scales, swizzled, Stream.DEFAULT);
      formats.unswizzle(swizzled, scales, Stream.DEFAULT);
      refusesToClose(f, source, weight, logits);
      router.logits(source, logits, Stream.DEFAULT);
      refusesToClose(f, source);
      source.copyFrom(ByteBuffer.allocate(256));
      source.copyTo(ByteBuffer.allocate(256));
      assertEquals(8, f.fake().operations().size()); // copyFrom waits for its copy
    }
  }

  /** From now on, operations find that these tensors cannot be closed, nor their device. */
  private static void refusesToClose(LayerFixture f, OwnedTensor... tensors) {
    f.fake()
        .onOperation(
            name -> {
              for (OwnedTensor tensor : tensors) {
                assertThrows(ClosedException.class, tensor::close, name);
              }
            });
  }

  @Test
  void leaksAreFreedAndCounted() {
    FakeProvider provider = new FakeProvider();
    MoeDevice device = provider.open();
    long before = MoeDevice.leakedResources();
    assertEquals(16, leakTensor(device).spec().bytes());
    awaitCollected(() -> device.counters().liveAllocations() == 0);
    assertEquals(before + 1, MoeDevice.leakedResources());
    device.close();
  }

  private static OwnedTensor leakTensor(MoeDevice device) {
    return device.allocate(TensorSpec.of(DType.F32, 4));
  }

  @Test
  void aLeakedDeviceGoesAfterWhatLeakedOnIt() {
    FakeProvider provider = new FakeProvider();
    leakEverything(provider);
    // The fake fails when it is closed before its allocations and layers.
    awaitCollected(() -> provider.device().isClosed());
    assertEquals(0, provider.device().counters().liveBytes());
    assertEquals(0, provider.device().counters().liveLayers());
  }

  private static void leakEverything(FakeProvider provider) {
    MoeDevice device = provider.open();
    MoeSpec spec = LayerFixture.spec().build();
    MoeLayer layer = device.prepare(spec, expert -> LayerFixture.expert(spec));
    Workspace workspace = layer.newWorkspace(3);
    OwnedTensor tensor = leakTensor(device);
    assertEquals(workspace.device(), tensor.device());
  }

  @Test
  void aBufferKeepsItsTensor() {
    FakeProvider provider = new FakeProvider();
    MoeDevice device = provider.open();
    ByteBuffer buffer = leakTensor(device).buffer();
    for (int i = 0; i < 5; i++) {
      System.gc();
    }
    assertEquals(1, device.counters().liveAllocations());
    buffer.putFloat(0, 1f);
    buffer = null;
    awaitCollected(() -> device.counters().liveAllocations() == 0);
    device.close();
  }

  @Test
  void aFailedPreparationLeavesNothing() {
    try (LayerFixture f = new LayerFixture()) {
      long layers = f.device.counters().liveLayers();
      f.fake()
          .onExpert(
              weights -> {
                throw new DeviceMemoryException("full");
              });
      assertThrows(
          DeviceMemoryException.class,
          () -> f.device.prepare(f.spec, expert -> LayerFixture.expert(f.spec)));
      f.fake().onExpert(weights -> {});
      assertThrows(
          IllegalStateException.class,
          () ->
              f.device.prepare(
                  f.spec,
                  expert -> LayerFixture.expert(f.spec),
                  layer -> {
                    throw new IllegalStateException("a tuner that fails");
                  }));
      assertEquals(layers, f.device.counters().liveLayers());
    }
  }

  @Test
  void aFailedUploadLeavesNothing() {
    try (LayerFixture f = new LayerFixture()) {
      long bytes = f.device.counters().liveBytes();
      assertThrows(
          InvalidArgumentException.class,
          () -> f.device.upload(TensorSpec.of(DType.F32, 4), ByteBuffer.allocate(15)));
      assertEquals(bytes, f.device.counters().liveBytes());
    }
  }

  private static void await(CountDownLatch latch) {
    try {
      assertTrue(latch.await(30, TimeUnit.SECONDS));
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  private static void awaitCollected(BooleanSupplier collected) {
    for (int i = 0; i < 500 && !collected.getAsBoolean(); i++) {
      System.gc();
      try {
        Thread.sleep(10);
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
    }
    assertTrue(collected.getAsBoolean(), "not collected");
    assertFalse(MoeDevice.leakedResources() == 0);
  }
}
