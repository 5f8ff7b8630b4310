package io.moe4j.checkpoint;

import com.google.common.primitives.ImmutableLongArray;
import io.moe4j.DType;
import io.moe4j.InvalidArgumentException;
import io.moe4j.TensorSpec;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;

/**
 * A tensor of a safetensors file: row-major, little-endian, contiguous. Its type, shape and place
 * were checked when the file was opened. Borrows from its {@link SafetensorsFile}.
 */
public final class StoredTensor {
  private final SafetensorsFile file;
  private final SafetensorsHeader.Entry entry;
  private final long dataStart;

  StoredTensor(SafetensorsFile file, SafetensorsHeader.Entry entry, long dataStart) {
    this.file = file;
    this.entry = entry;
    this.dataStart = dataStart;
  }

  /** Its name in the file. */
  public String name() {
    return entry.name();
  }

  /** Type of its elements. */
  public SafetensorsDType dtype() {
    return entry.dtype();
  }

  /** Extents, outermost first; empty for a scalar. */
  public ImmutableLongArray shape() {
    return entry.shape();
  }

  /** Size of the data. */
  public long bytes() {
    return entry.end() - entry.begin();
  }

  /** The file that has it. */
  public Path path() {
    return file.path();
  }

  /**
   * Type and shape in the terms of the library.
   *
   * @throws CheckpointException where the library has no such type
   */
  public TensorSpec spec() {
    DType dtype =
        dtype()
            .dtype()
            .orElseThrow(() -> unexpected("F32, BF16, I32, I16, U8, F8_E4M3 or F8_E8M0"));
    return new TensorSpec(dtype, shape());
  }

  /** All of the data, less than 2 GiB, as {@link #slice} gives it. */
  public ByteBuffer buffer() {
    return slice(0, bytes());
  }

  /**
   * A part of the data, less than 2 GiB, as a read-only, little-endian, direct buffer: the mapped
   * file itself, or, where the file has elements of several bytes at addresses that do not suit
   * them, a copy.
   *
   * @param offset first byte, counted from the tensor's start
   * @throws CheckpointException when it is larger
   */
  public ByteBuffer slice(long offset, long bytes) {
    if (offset < 0 || bytes < 0 || offset > bytes() - bytes) {
      throw new InvalidArgumentException(
          "slice", bytes + " bytes at " + offset, "a part of " + bytes() + " bytes");
    }
    if (bytes > Integer.MAX_VALUE) {
      throw problem("found " + bytes + " bytes to read at once, expected fewer than 2 GiB");
    }
    ByteBuffer mapped = file.map(dataStart + entry.begin() + offset, (int) bytes);
    int alignment = dtype().alignment();
    if (alignment == 1 || mapped.alignmentOffset(0, alignment) == 0) {
      return mapped;
    }
    ByteBuffer copy = ByteBuffer.allocateDirect((int) bytes).put(mapped).flip();
    return copy.asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Refuses other types and shapes. */
  StoredTensor expect(SafetensorsDType dtype, long... shape) {
    if (dtype() != dtype || !shape().equals(ImmutableLongArray.copyOf(shape))) {
      throw unexpected(dtype + " " + ImmutableLongArray.copyOf(shape));
    }
    return this;
  }

  /** As {@link #expect}, for values that may come in either floating-point type. */
  StoredTensor expectFloats(long... shape) {
    if ((dtype() != SafetensorsDType.F32 && dtype() != SafetensorsDType.BF16)
        || !shape().equals(ImmutableLongArray.copyOf(shape))) {
      throw unexpected("F32 or BF16 " + ImmutableLongArray.copyOf(shape));
    }
    return this;
  }

  /** The value of an F32 scalar, [] or [1]. */
  float scalar() {
    boolean single = shape().isEmpty() || (shape().length() == 1 && shape().get(0) == 1);
    if (dtype() != SafetensorsDType.F32 || !single) {
      throw unexpected("an F32 scalar, [] or [1]");
    }
    return buffer().getFloat(0);
  }

  /** "found {this}, expected ...". */
  CheckpointException unexpected(String expected) {
    return problem("found " + dtype() + " " + shape() + ", expected " + expected);
  }

  CheckpointException problem(String problem) {
    return CheckpointException.ofTensor(path(), name(), problem);
  }

  /** Name, type and shape. */
  @Override
  public String toString() {
    return name() + " " + dtype() + " " + shape();
  }
}
