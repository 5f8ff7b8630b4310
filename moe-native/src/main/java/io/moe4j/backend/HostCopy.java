package io.moe4j.backend;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;

/**
 * The host's side of a copy, as addresses: a direct buffer is used where it is, a heap buffer,
 * which the garbage collector may move, by way of a small direct one. Positions of buffers do not
 * change.
 */
final class HostCopy {
  private static final int STAGING_BYTES = 1 << 20;

  private HostCopy() {}

  /** Moves some bytes between the host's address and the device's side of the copy. */
  @FunctionalInterface
  interface Mover {
    void move(long host, long offset, long bytes);
  }

  /** Moves the remaining bytes of {@code source} to the device. */
  static void read(ByteBuffer source, Mover mover) {
    if (source.isDirect()) {
      move(source, 0, mover);
      return;
    }
    ByteBuffer staging = staging(source);
    for (int offset = 0; offset < source.remaining(); offset += staging.limit()) {
      staging.clear().limit(Math.min(staging.capacity(), source.remaining() - offset));
      staging.put(0, source, source.position() + offset, staging.limit());
      move(staging, offset, mover);
    }
  }

  /** Moves the device's bytes to the remaining ones of {@code destination}. */
  static void write(ByteBuffer destination, Mover mover) {
    if (destination.isDirect()) {
      move(destination, 0, mover);
      return;
    }
    ByteBuffer staging = staging(destination);
    for (int offset = 0; offset < destination.remaining(); offset += staging.limit()) {
      staging.clear().limit(Math.min(staging.capacity(), destination.remaining() - offset));
      move(staging, offset, mover);
      destination.put(destination.position() + offset, staging, 0, staging.limit());
    }
  }

  private static ByteBuffer staging(ByteBuffer heap) {
    return ByteBuffer.allocateDirect(Math.min(heap.remaining(), STAGING_BYTES));
  }

  private static void move(ByteBuffer direct, long offset, Mover mover) {
    if (direct.hasRemaining()) {
      try {
        mover.move(Address.of(direct), offset, direct.remaining());
      } finally {
        Reference.reachabilityFence(direct);
      }
    }
  }
}
