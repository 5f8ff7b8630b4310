package io.moe4j.backend;

import io.moe4j.Device;
import io.moe4j.DeviceKind;
import io.moe4j.TensorSpec;
import io.moe4j.nativelib.DLManagedTensor;
import io.moe4j.nativelib.DLTensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;

/**
 * A tensor that was given to a user of DLPack: it lives, with the structs that describe it, until
 * that user calls the deleter, in whichever thread.
 *
 * @param structs memory that the user reads
 * @param release lets go of the tensor
 */
record DlpackExport(DLManagedTensor managed, ByteBuffer structs, Runnable release) {
  /** By address of their {@code DLManagedTensor}. */
  private static final ConcurrentMap<Long, DlpackExport> LIVE = new ConcurrentHashMap<>();

  /** One for all, and for ever: JavaCPP has only so many callbacks. */
  private static final DLManagedTensor.Deleter_DLManagedTensor DELETER =
      new DLManagedTensor.Deleter_DLManagedTensor() {
        /** Frees nothing, and so is not among what JavaCPP's limits count; see the package. */
        @Override
        @SuppressWarnings({"unchecked", "TypeParameterUnusedInFormals"})
        protected <P extends Pointer> P deallocator(Deallocator unused) {
          return (P) this;
        }

        @Override
        public void call(DLManagedTensor self) {
          DlpackExport ended = LIVE.remove(self.address());
          if (ended != null) {
            ended.release.run();
          }
        }
      };

  /** The address of a new {@code DLManagedTensor}, whose deleter runs {@code release}. */
  static long make(Device device, TensorSpec spec, long address, Runnable release) {
    ByteBuffer shape =
        ByteBuffer.allocateDirect(Math.max(1, spec.rank()) * Long.BYTES)
            .order(ByteOrder.nativeOrder());
    for (int i = 0; i < spec.rank(); i++) {
      shape.putLong(i * Long.BYTES, spec.dim(i));
    }
    DLManagedTensor managed = new DLManagedTensor(NativeStruct.zeroed(DLManagedTensor.class));
    DLTensor tensor = managed.dl_tensor();
    tensor
        .data(Address.of(address))
        .ndim(spec.rank())
        .shape(new LongPointer(new BytePointer(shape)));
    tensor
        .device()
        .device_type(device.kind() == DeviceKind.CPU ? DlpackType.HOST : DlpackType.CUDA)
        .device_id(device.index());
    DlpackType.describe(spec.dtype(), tensor.dtype());
    managed.deleter(DELETER);
    LIVE.put(managed.address(), new DlpackExport(managed, shape, release));
    return managed.address();
  }
}
