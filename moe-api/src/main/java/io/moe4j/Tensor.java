package io.moe4j;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;

/**
 * Storage with a shape, row-major and contiguous, on one device: either {@link OwnedTensor owned},
 * to be closed, or {@link BorrowedTensor borrowed} from somebody who keeps it alive. Only a tensor
 * can be given to a launch; a {@link TensorSpec} cannot.
 */
public abstract sealed class Tensor permits OwnedTensor, BorrowedTensor {
  private final TensorSpec spec;
  private final MoeDevice device;

  Tensor(TensorSpec spec, MoeDevice device) {
    this.spec = spec;
    this.device = device;
  }

  /** Element type and shape. */
  public final TensorSpec spec() {
    return spec;
  }

  /** The opened device whose memory this is. */
  public final MoeDevice device() {
    return device;
  }

  /** Address of the first element in the device's memory. Refused when closed. */
  public abstract long address();

  /** Whether a launch may write to it. */
  abstract boolean writable();

  /** Marks the storage as in use, so that it cannot be closed meanwhile. */
  abstract void acquire();

  /** Ends a use. */
  abstract void release();

  /**
   * The storage itself as a little-endian buffer, without a copy: CPU tensors of less than 2 GiB.
   * The buffer keeps the tensor from being garbage-collected, but must not be used after the tensor
   * is closed.
   */
  public final ByteBuffer buffer() {
    return device.view(this);
  }

  /**
   * Copies host data in, waiting for the copy: any stream may use it next. As many bytes as the
   * tensor has must remain in {@code source}, whose position stays.
   */
  public final void copyFrom(ByteBuffer source) {
    acquire();
    try {
      device.copyToDevice(this, source, Stream.DEFAULT);
      // Streams that do not wait for the default one would overtake the copy.
      device.synchronize(Stream.DEFAULT);
    } finally {
      release();
      Reference.reachabilityFence(source);
    }
  }

  /**
   * Copies the tensor out, waiting for it; as many bytes as it has must remain in {@code
   * destination}, whose position stays.
   */
  public final void copyTo(ByteBuffer destination) {
    device.copyToHost(this, destination, Stream.DEFAULT);
  }

  /**
   * Describes the storage to another library as a DLPack tensor, without a copy. The tensor stays
   * open, and refuses to be closed, until that library calls the {@code deleter}, in any thread.
   * Whoever reads waits for the launches that write. Read-only memory is refused.
   *
   * @return address of a {@code DLManagedTensor}, in host memory
   */
  public final long exportDlpack() {
    return device.exportDlpack(this);
  }

  @Override
  public final String toString() {
    return spec + " on " + device.device();
  }
}
