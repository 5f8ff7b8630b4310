package io.moe4j.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.ClosedException;
import io.moe4j.DType;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeDevice;
import io.moe4j.OwnedTensor;
import io.moe4j.TensorSpec;
import io.moe4j.nativelib.DLManagedTensor;
import java.nio.ByteBuffer;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.function.Consumer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Tensors that come from, and go to, other libraries by DLPack. */
final class DlpackTest {
  private static final TensorSpec SPEC = TensorSpec.of(DType.F32, 2, 3);

  private MoeDevice device;

  @BeforeEach
  void openDevice() {
    device = MoeDevice.open("cpu");
  }

  @AfterEach
  void closeDevice() {
    device.close();
  }

  /** One for all: JavaCPP has ten at most. */
  private static final DLManagedTensor.Deleter_DLManagedTensor COUNTER;

  static {
    NativeLibrary.load();
    COUNTER =
        new DLManagedTensor.Deleter_DLManagedTensor() {
          @Override
          public void call(DLManagedTensor self) {
            DELETED.merge(self.address(), 1, Integer::sum);
          }
        };
  }

  private static final ConcurrentMap<Long, Integer> DELETED = new ConcurrentHashMap<>();

  /** Somebody else's F32 [2, 3], one float into its memory. */
  private static final class Foreign {
    final FloatPointer data = new FloatPointer(-1f, 0f, 1f, 2f, 3f, 4f, 5f);
    final LongPointer shape = new LongPointer(2, 3);
    final DLManagedTensor managed = new DLManagedTensor(NativeStruct.zeroed(DLManagedTensor.class));

    Foreign() {
      managed.dl_tensor().data(data).ndim(2).shape(shape).byte_offset(Float.BYTES);
      managed.dl_tensor().device().device_type(1);
      managed.dl_tensor().dtype().code((byte) 2).bits((byte) 32).lanes((short) 1);
      managed.deleter(COUNTER);
      DELETED.remove(managed.address());
    }

    /** How often it was let go. */
    int deleted() {
      return DELETED.getOrDefault(managed.address(), 0);
    }
  }

  @Test
  void aForeignTensorIsUsedInPlaceAndLetGoOnce() {
    Foreign foreign = new Foreign();
    OwnedTensor tensor = device.importDlpack(SPEC, foreign.managed.address());
    assertEquals(4f, tensor.buffer().getFloat(4 * Float.BYTES));
    tensor.buffer().putFloat(0, 7f);
    assertEquals(7f, foreign.data.get(1));
    assertThrows(ClosedException.class, device::close);
    assertEquals(0, foreign.deleted());
    tensor.close();
    tensor.close();
    assertEquals(1, foreign.deleted());
  }

  @Test
  void aTensorWithoutADeleterIsFine() {
    Foreign foreign = new Foreign();
    foreign.managed.deleter(null);
    device.importDlpack(SPEC, foreign.managed.address()).close();
    assertEquals(0, foreign.deleted());
  }

  @Test
  void bytesStandForNarrowTypes() {
    Foreign foreign = new Foreign();
    foreign.managed.dl_tensor().dtype().code((byte) 1).bits((byte) 8);
    for (DType dtype : new DType[] {DType.U8, DType.E4M3, DType.UE8M0, DType.E2M1X2}) {
      device.importDlpack(TensorSpec.of(dtype, 2, 3), foreign.managed.address()).close();
    }
    assertEquals(4, foreign.deleted());
  }

  @Test
  void whatIsNotAsSaidIsRefusedAndNotTouched() {
    assertRefused(
        "found device type 2, id 0",
        foreign -> foreign.managed.dl_tensor().device().device_type(2));
    assertRefused(
        "found elements of 64 bits with type code 2",
        foreign -> foreign.managed.dl_tensor().dtype().bits((byte) 64));
    assertRefused(
        "found elements of 32 bits with type code 0",
        foreign -> foreign.managed.dl_tensor().dtype().code((byte) 0));
    assertRefused(
        "found elements of 2 x 16 bits with type code 2",
        foreign -> foreign.managed.dl_tensor().dtype().bits((byte) 16).lanes((short) 2));
    assertRefused("found 1 dimensions", foreign -> foreign.managed.dl_tensor().ndim(1));
    assertRefused("found an extent 4 of dimension 1", foreign -> foreign.shape.put(1, 4));
    assertRefused("found a shape at NULL", foreign -> foreign.managed.dl_tensor().shape(null));
    LongPointer strides = new LongPointer(1, 2);
    assertRefused(
        "found a stride 2 of dimension 1", foreign -> foreign.managed.dl_tensor().strides(strides));
    assertRefused(
        "expected the aligned address", foreign -> foreign.managed.dl_tensor().byte_offset(2));
    assertRefused(
        "found data at 0x0", foreign -> foreign.managed.dl_tensor().data(null).byte_offset(0));
    for (long nowhere : new long[] {0, -8, 4}) {
      assertThrows(InvalidArgumentException.class, () -> device.importDlpack(SPEC, nowhere));
    }
  }

  private void assertRefused(String message, Consumer<Foreign> change) {
    Foreign foreign = new Foreign();
    change.accept(foreign);
    InvalidArgumentException e =
        assertThrows(
            InvalidArgumentException.class,
            () -> device.importDlpack(SPEC, foreign.managed.address()));
    assertEquals("managedTensor", e.argument());
    assertTrue(e.getMessage().contains(message), e::getMessage);
    assertEquals(0, foreign.deleted());
  }

  @Test
  void denseStridesAreAccepted() {
    Foreign foreign = new Foreign();
    LongPointer strides = new LongPointer(3, 1);
    foreign.managed.dl_tensor().strides(strides);
    device.importDlpack(SPEC, foreign.managed.address()).close();
    assertEquals(1, foreign.deleted());
  }

  @Test
  void anExportedTensorStaysOpenUntilItsUserLetsGo() throws Exception {
    for (DType dtype : DType.values()) {
      TensorSpec spec = TensorSpec.of(dtype, 3, 1, 2);
      OwnedTensor tensor = device.allocate(spec);
      tensor.copyFrom(ByteBuffer.allocate((int) spec.bytes()).put(0, (byte) 9));
      long managed = tensor.exportDlpack();
      assertThrows(ClosedException.class, tensor::close);
      OwnedTensor imported = device.importDlpack(spec, managed);
      assertEquals(tensor.address(), imported.address());
      assertEquals(9, imported.buffer().get(0));
      Thread user = new Thread(imported::close);
      user.start();
      user.join();
      tensor.close();
    }
    assertEquals(0, device.counters().liveBytes());
  }
}
