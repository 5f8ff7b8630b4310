package io.moe4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.moe4j.DType;
import io.moe4j.DeviceException;
import io.moe4j.MoeDevice;
import io.moe4j.TensorSpec;
import io.moe4j.testing.FakeProvider;
import org.junit.jupiter.api.Test;

/** Tensors of the host on their way to a device. */
class HostTensorTest {
  @Test
  void aFailedUploadLeavesNothing() {
    FakeProvider provider = new FakeProvider();
    try (MoeDevice device = provider.open()) {
      provider
          .device()
          .onOperation(
              name -> {
                throw new DeviceException(name + " failed");
              });
      HostTensor zeros = HostTensor.zeros(TensorSpec.of(DType.F32, 4));
      assertThrows(DeviceException.class, () -> zeros.upload(device));
      assertEquals(0, device.counters().liveAllocations());
    }
  }
}
