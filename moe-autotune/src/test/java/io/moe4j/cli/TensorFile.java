package io.moe4j.cli;

import com.google.common.primitives.ImmutableDoubleArray;
import io.moe4j.checkpoint.SafetensorsDType;
import io.moe4j.checkpoint.SafetensorsWriter;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Writes safetensors files of a few numbers. */
final class TensorFile {
  private final List<Tensor> tensors = new ArrayList<>();

  private record Tensor(
      String name, SafetensorsDType dtype, long rows, long columns, ImmutableDoubleArray values) {}

  /** Adds a matrix; missing values repeat the given ones from the start. */
  TensorFile add(String name, SafetensorsDType dtype, long rows, long columns, double... values) {
    tensors.add(new Tensor(name, dtype, rows, columns, ImmutableDoubleArray.copyOf(values)));
    return this;
  }

  /** Writes the file. */
  Path write(Path path) {
    SafetensorsWriter.Builder file = SafetensorsWriter.to(path);
    tensors.forEach(t -> file.tensor(t.name, t.dtype, t.rows, t.columns));
    try (SafetensorsWriter writer = file.open()) {
      tensors.forEach(t -> writer.write(t.name, bytes(t)));
      writer.commit();
    }
    return path;
  }

  private static ByteBuffer bytes(Tensor tensor) {
    int count = (int) (tensor.rows * tensor.columns);
    ByteBuffer bytes = ByteBuffer.allocate(8 * count).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      double value = tensor.values.get(i % tensor.values.length());
      switch (tensor.dtype) {
        case F32 -> bytes.putFloat((float) value);
        case BF16 -> bytes.putShort((short) (Float.floatToRawIntBits((float) value) >>> 16));
        case I32 -> bytes.putInt((int) value);
        case I64 -> bytes.putLong((long) value);
        case F64 -> bytes.putDouble(value);
        default -> throw new IllegalArgumentException(tensor.dtype.toString());
      }
    }
    return bytes.flip();
  }
}
