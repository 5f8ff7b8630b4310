package io.moe4j.tests.gpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.moe4j.ClosedException;
import io.moe4j.DType;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeDevice;
import io.moe4j.OwnedTensor;
import io.moe4j.TensorSpec;
import io.moe4j.tests.fixtures.TestDevice;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** Device memory crosses as DLPack tensors in place, and not to another device. */
@OnCuda
class DlpackOnCudaTest {
  @Test
  void memoryOfTheDeviceIsSharedInPlace() {
    TensorSpec spec = TensorSpec.of(DType.BF16, 3, 8);
    ByteBuffer bytes = ByteBuffer.allocate(48).put(7, (byte) 42).put(47, (byte) -1);
    ByteBuffer found = ByteBuffer.allocate(48);
    try (MoeDevice device = TestDevice.open();
        MoeDevice cpu = MoeDevice.open("cpu");
        OwnedTensor own = device.upload(spec, bytes)) {
      long managed = own.exportDlpack();
      InvalidArgumentException e =
          assertThrows(InvalidArgumentException.class, () -> cpu.importDlpack(spec, managed));
      assertEquals("managedTensor", e.argument());
      try (OwnedTensor imported = device.importDlpack(spec, managed)) {
        assertEquals(own.address(), imported.address());
        imported.copyTo(found);
        assertEquals(bytes, found);
        assertThrows(ClosedException.class, own::close);
      }
    }
  }
}
