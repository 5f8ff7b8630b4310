package io.moe4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.testing.FakeProvider;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** Finding and opening devices, and moving data; the service file names a fake CPU alone. */
final class MoeDeviceTest {

  @Test
  void autoFallsBackAndSaysWhy() {
    try (MoeDevice device = MoeDevice.open("auto")) {
      assertEquals(Device.CPU, device.device());
      assertTrue(device.fallbackReason().orElseThrow().startsWith("cuda:0 is not available"));
    }
  }

  @Test
  void cudaNeverFallsBack() {
    DeviceUnavailableException e =
        assertThrows(DeviceUnavailableException.class, () -> MoeDevice.open("cuda:0"));
    assertTrue(e.getMessage().contains("moe-native"), e::getMessage);
  }

  @Test
  void aThreadsClassLoaderNeedNotSeeBackEnds() {
    Thread thread = Thread.currentThread();
    ClassLoader before = thread.getContextClassLoader();
    thread.setContextClassLoader(ClassLoader.getPlatformClassLoader());
    try (MoeDevice device = MoeDevice.open("cpu")) {
      assertEquals(Device.CPU, device.device());
    } finally {
      thread.setContextClassLoader(before);
    }
  }

  @Test
  void anAbsentDeviceHasAReason() {
    FakeProvider none = new FakeProvider(DeviceKind.CUDA, 0);
    DeviceUnavailableException e = assertThrows(DeviceUnavailableException.class, none::open);
    assertEquals("cuda:0 is not available: the fake driver is not installed", e.getMessage());
    FakeProvider two = new FakeProvider(DeviceKind.CUDA, 2);
    e =
        assertThrows(
            DeviceUnavailableException.class, () -> MoeDevice.open(two, 2, DeviceOptions.DEFAULT));
    assertEquals("cuda:2 is not available: found 2 of its kind, numbered from 0", e.getMessage());
  }

  @Test
  void gpuTensorsHaveNoHostView() {
    try (MoeDevice device = new FakeProvider(DeviceKind.CUDA, 1).open();
        OwnedTensor tensor = device.allocate(TensorSpec.of(DType.F32, 4))) {
      assertEquals(
          "device", assertThrows(InvalidArgumentException.class, tensor::buffer).argument());
      assertThrows(
          InvalidArgumentException.class,
          () -> device.borrow(tensor.spec(), ByteBuffer.allocateDirect(16)));
    }
  }

  @Test
  void copiesLeaveTheBuffersPosition() {
    ByteBuffer source = ByteBuffer.allocate(12).order(ByteOrder.LITTLE_ENDIAN).position(4);
    source.putFloat(4, 1.5f).putFloat(8, -2f);
    ByteBuffer back = ByteBuffer.allocateDirect(8).order(ByteOrder.LITTLE_ENDIAN);
    try (MoeDevice device = new FakeProvider().open();
        OwnedTensor tensor = device.upload(TensorSpec.of(DType.F32, 2), source)) {
      assertEquals(1.5f, tensor.buffer().getFloat(0));
      tensor.copyTo(back);
    }
    assertEquals(4, source.position());
    assertEquals(0, back.position());
    assertEquals(-2f, back.getFloat(4));
  }

  @Test
  void borrowedReadOnlyMemoryStaysReadOnly() {
    ByteBuffer mapped = ByteBuffer.allocateDirect(8).asReadOnlyBuffer();
    try (MoeDevice device = new FakeProvider().open()) {
      BorrowedTensor tensor = device.borrow(TensorSpec.of(DType.F32, 2), mapped);
      assertTrue(tensor.buffer().isReadOnly());
      InvalidArgumentException e =
          assertThrows(InvalidArgumentException.class, tensor::exportDlpack);
      assertEquals("tensor", e.argument());
    }
  }

  @Test
  void namesAreReadBack() {
    assertEquals(Device.cuda(3), Device.parse("cuda:3"));
    assertEquals(Device.cuda(0), Device.parse("cuda"));
    assertEquals("cuda:3", Device.cuda(3).toString());
    assertEquals(Device.CPU, Device.parse(Device.CPU.toString()));
  }

  @Test
  void theRouterGetsItsShapes() {
    FakeProvider provider = new FakeProvider();
    try (MoeDevice device = provider.open();
        OwnedTensor weight = device.allocate(TensorSpec.of(DType.BF16, 8, 64));
        OwnedTensor hidden = device.allocate(TensorSpec.of(DType.F32, 3, 64));
        OwnedTensor logits = device.allocate(TensorSpec.of(DType.F32, 3, 8))) {
      new Router(weight, Optional.empty()).logits(hidden, logits, Stream.DEFAULT);
    }
    assertEquals("routerLogits 3 64 8", provider.device().operations().get(0));
  }
}
