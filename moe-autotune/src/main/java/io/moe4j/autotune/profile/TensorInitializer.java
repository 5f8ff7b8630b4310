package io.moe4j.autotune.profile;

import io.moe4j.TensorSpec;
import java.nio.ByteBuffer;

/** Makes the contents of one input of a profile. */
@FunctionalInterface
public interface TensorInitializer {

  /**
   * Writes all of a tensor's contents.
   *
   * @param spec its type and shape
   * @param draw which contents
   * @param contents little-endian, the tensor's bytes from index 0 on; to be written by index
   */
  void fill(TensorSpec spec, Draw draw, ByteBuffer contents);
}
