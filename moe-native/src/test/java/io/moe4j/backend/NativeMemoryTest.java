package io.moe4j.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.BorrowedTensor;
import io.moe4j.ClosedException;
import io.moe4j.DType;
import io.moe4j.DeviceCounters;
import io.moe4j.DeviceMemoryException;
import io.moe4j.MoeDevice;
import io.moe4j.OwnedTensor;
import io.moe4j.TensorSpec;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Tensors of the CPU device: their bytes, their lives, and what the device counts of them. */
final class NativeMemoryTest {
  /** Odd, and longer than what a heap buffer is staged through at a time. */
  private static final int BYTES = (1 << 20) * 2 + 12345;

  private MoeDevice device;

  @BeforeEach
  void openDevice() {
    device = MoeDevice.open("cpu");
  }

  @AfterEach
  void closeDevice() {
    assertEquals(0, device.counters().liveBytes());
    device.close();
  }

  @Test
  void bytesSurviveARoundTripThroughHeapAndDirectBuffers() {
    byte[] bytes = randomBytes();
    ByteBuffer heap = ByteBuffer.wrap(bytes);
    ByteBuffer direct = ByteBuffer.allocateDirect(BYTES + 7).position(7);
    try (OwnedTensor tensor = device.allocate(TensorSpec.of(DType.U8, BYTES))) {
      tensor.copyFrom(heap);
      tensor.copyTo(direct);
      assertEquals(ByteBuffer.wrap(bytes), direct);

      byte[] padded = new byte[BYTES + 3];
      tensor.copyFrom(direct.asReadOnlyBuffer());
      tensor.copyTo(ByteBuffer.wrap(padded, 3, BYTES));
      assertEquals(ByteBuffer.wrap(bytes), ByteBuffer.wrap(padded, 3, BYTES));
      assertArrayEquals(new byte[3], new byte[] {padded[0], padded[1], padded[2]});
    }
  }

  @Test
  void aTensorOfNoBytesCopiesNothing() {
    try (OwnedTensor tensor = device.allocate(TensorSpec.of(DType.F32, 0, 8))) {
      tensor.copyFrom(ByteBuffer.allocate(0));
      tensor.copyTo(ByteBuffer.allocateDirect(0));
      assertEquals(0, tensor.buffer().capacity());
    }
  }

  @Test
  void aViewIsTheStorageItself() {
    try (OwnedTensor tensor = device.allocate(TensorSpec.of(DType.I32, 4))) {
      tensor.buffer().putInt(8, 42);
      ByteBuffer copy = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
      tensor.copyTo(copy);
      assertEquals(42, copy.getInt(8));
      assertEquals(0, tensor.address() % 256);
    }
  }

  @Test
  void aBorrowedBufferIsNotCopied() {
    ByteBuffer lent = ByteBuffer.allocateDirect(32).order(ByteOrder.LITTLE_ENDIAN).position(16);
    BorrowedTensor tensor = device.borrow(TensorSpec.of(DType.F32, 4), lent);
    lent.putFloat(20, 1.5f);
    assertEquals(1.5f, tensor.buffer().getFloat(4));
    assertEquals(0, device.counters().liveAllocations());
  }

  @Test
  void theDeviceCountsWhatIsAlive() {
    OwnedTensor tensor = device.allocate(TensorSpec.of(DType.U8, 1000));
    DeviceCounters counters = device.counters();
    assertEquals(1, counters.liveAllocations());
    assertTrue(counters.liveBytes() >= 1000, counters::toString);
    assertThrows(ClosedException.class, device::close);

    tensor.close();
    assertEquals(0, device.counters().liveAllocations());
    assertThrows(ClosedException.class, tensor::address);
  }

  @Test
  void memoryThatIsNotThereIsRefusedAndNothingIsLost() {
    TensorSpec huge = TensorSpec.of(DType.U8, 1L << 46);
    assertThrows(DeviceMemoryException.class, () -> device.allocate(huge));
    assertEquals(0, device.counters().liveAllocations());
  }

  private static byte[] randomBytes() {
    byte[] bytes = new byte[BYTES];
    new Random(7).nextBytes(bytes);
    return bytes;
  }
}
