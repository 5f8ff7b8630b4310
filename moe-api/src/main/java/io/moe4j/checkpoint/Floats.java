package io.moe4j.checkpoint;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Small tensors of F32 or BF16 as F32. */
final class Floats {
  private Floats() {}

  /** The values as F32, direct and little-endian; a copy if they are BF16. */
  static ByteBuffer direct(StoredTensor tensor) {
    ByteBuffer source = tensor.buffer();
    if (tensor.dtype() == SafetensorsDType.F32) {
      return source;
    }
    int count = source.remaining() / 2;
    ByteBuffer values = ByteBuffer.allocateDirect(4 * count).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      values.putInt(4 * i, source.getShort(2 * i) << 16);
    }
    return values;
  }
}
