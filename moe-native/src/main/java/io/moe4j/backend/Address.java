package io.moe4j.backend;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/** A bare address as the bindings take it. Owns nothing, so JavaCPP never frees it. */
final class Address extends Pointer {
  private Address(long address) {
    this.address = address;
  }

  /** The address as a {@code void*}; 0 is NULL. */
  static Pointer of(long address) {
    return address == 0 ? null : new Address(address);
  }

  /**
   * Where a direct buffer's remaining bytes begin. Whoever uses the address keeps the buffer
   * reachable meanwhile.
   */
  static long of(ByteBuffer direct) {
    BytePointer pointer = new BytePointer(direct);
    return pointer.address() + pointer.position();
  }

  /** Memory as a little-endian buffer, without a copy; the caller keeps the memory alive. */
  static ByteBuffer view(long address, int bytes) {
    ByteBuffer view =
        bytes == 0
            ? ByteBuffer.allocateDirect(0)
            : new Address(address).capacity(bytes).asByteBuffer();
    return view.order(ByteOrder.LITTLE_ENDIAN);
  }

  @Override
  public int sizeof() {
    return 1;
  }
}
