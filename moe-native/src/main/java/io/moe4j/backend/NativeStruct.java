package io.moe4j.backend;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;

/** Memory for C structs, on the JVM's account; see the package. */
final class NativeStruct {
  private NativeStruct() {}

  /** A zeroed buffer of the size of a struct. */
  static ByteBuffer allocate(Class<? extends Pointer> struct) {
    return ByteBuffer.allocateDirect(Loader.sizeof(struct)).order(ByteOrder.nativeOrder());
  }

  /**
   * Zeroed memory for a struct, to be given to the cast constructor of its class. The pointer keeps
   * the memory alive.
   */
  static Pointer zeroed(Class<? extends Pointer> struct) {
    return new BytePointer(allocate(struct));
  }

  /** Where a field lies in a struct, in bytes. */
  static int offset(Class<? extends Pointer> struct, String field) {
    return Loader.offsetof(struct, field);
  }
}
