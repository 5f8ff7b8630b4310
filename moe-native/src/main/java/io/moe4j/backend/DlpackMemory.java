package io.moe4j.backend;

import io.moe4j.Device;
import io.moe4j.DeviceKind;
import io.moe4j.InvalidArgumentException;
import io.moe4j.TensorSpec;
import io.moe4j.global.moe4j;
import io.moe4j.nativelib.DLManagedTensor;
import io.moe4j.nativelib.DLTensor;
import io.moe4j.spi.DeviceMemory;

/** The memory of a DLPack tensor that was handed over; closing it calls the producer's deleter. */
final class DlpackMemory implements DeviceMemory {
  private final DLManagedTensor managed;
  private final long address;
  private final long bytes;

  private DlpackMemory(DLManagedTensor managed, long address, long bytes) {
    this.managed = managed;
    this.address = address;
    this.bytes = bytes;
  }

  /** Takes over a {@code DLManagedTensor}, unless it is not what {@code spec} says. */
  static DlpackMemory take(Device device, TensorSpec spec, long managedTensor) {
    DLManagedTensor managed = new DLManagedTensor(Address.of(managedTensor));
    DLTensor tensor = managed.dl_tensor();
    checkDevice(device, tensor);
    if (!DlpackType.fits(spec.dtype(), tensor.dtype())) {
      throw wrong(DlpackType.name(tensor.dtype()), spec.toString());
    }
    checkShape(spec, tensor);
    long address = (tensor.data() == null ? 0 : tensor.data().address()) + tensor.byte_offset();
    if ((address == 0 && spec.bytes() > 0) || address % spec.dtype().bytes() != 0) {
      throw wrong("data at 0x" + Long.toHexString(address), "the aligned address of " + spec);
    }
    return new DlpackMemory(managed, address, spec.bytes());
  }

  private static void checkDevice(Device device, DLTensor tensor) {
    int type = tensor.device().device_type();
    int id = tensor.device().device_id();
    boolean fits =
        device.kind() == DeviceKind.CPU
            ? type == DlpackType.HOST || type == DlpackType.PINNED_HOST
            : (type == DlpackType.CUDA || type == DlpackType.CUDA_MANAGED) && id == device.index();
    if (!fits) {
      throw wrong("device type " + type + ", id " + id, "one on " + device);
    }
  }

  private static void checkShape(TensorSpec spec, DLTensor tensor) {
    int rank = tensor.ndim();
    if (rank != spec.rank()) {
      throw wrong(rank + " dimensions", spec.toString());
    }
    if (rank > 0 && tensor.shape() == null) {
      throw wrong("a shape at NULL", spec.toString());
    }
    boolean hasStrides = tensor.strides() != null;
    long dense = 1;
    for (int i = rank - 1; i >= 0; i--) {
      long extent = tensor.shape().get(i);
      if (extent != spec.dim(i)) {
        throw wrong("an extent " + extent + " of dimension " + i, spec.toString());
      }
      // Nobody steps along an extent of 1.
      if (hasStrides && extent > 1 && tensor.strides().get(i) != dense) {
        throw wrong(
            "a stride " + tensor.strides().get(i) + " of dimension " + i,
            dense + ": row-major and contiguous");
      }
      dense *= extent;
    }
  }

  private static InvalidArgumentException wrong(String found, String expected) {
    return new InvalidArgumentException("managedTensor", found, expected);
  }

  @Override
  public long address() {
    return address;
  }

  @Override
  public long bytes() {
    return bytes;
  }

  @Override
  public void close() {
    moe4j.moe4j_dlpack_delete(managed);
  }
}
