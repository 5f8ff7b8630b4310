package io.moe4j;

import com.google.common.primitives.ImmutableLongArray;
import java.util.stream.Collectors;

/**
 * What a tensor looks like: element type and shape, row-major and contiguous. A spec has no storage
 * and therefore no address: nothing that launches a kernel accepts one.
 *
 * @param dtype type of the elements
 * @param shape extent of each dimension, outermost first; none negative
 */
public record TensorSpec(DType dtype, ImmutableLongArray shape) {

  /** Checks that no extent is negative and that the size in bytes fits a long. */
  public TensorSpec {
    Arguments.notNull("dtype", dtype);
    Arguments.notNull("shape", shape);
    long bytes = dtype.bytes();
    for (int i = 0; i < shape.length(); i++) {
      if (shape.get(i) < 0) {
        throw new InvalidArgumentException("shape", shape, "extents of at least 0");
      }
      try {
        bytes = Math.multiplyExact(bytes, shape.get(i));
      } catch (ArithmeticException e) {
        throw new InvalidArgumentException("shape", shape, "fewer than 2^63 bytes", e);
      }
    }
  }

  /** A spec with the given extents, outermost first. */
  public static TensorSpec of(DType dtype, long... shape) {
    return new TensorSpec(dtype, ImmutableLongArray.copyOf(Arguments.notNull("shape", shape)));
  }

  /** Number of dimensions. */
  public int rank() {
    return shape.length();
  }

  /** Extent of dimension {@code index}, 0 being the outermost. */
  public long dim(int index) {
    return shape.get(index);
  }

  /** Number of stored elements; 1 for a scalar. */
  public long elements() {
    long elements = 1;
    for (int i = 0; i < shape.length(); i++) {
      elements *= shape.get(i);
    }
    return elements;
  }

  /** Size in bytes. */
  public long bytes() {
    return elements() * dtype.bytes();
  }

  @Override
  public String toString() {
    return shape.stream()
        .mapToObj(Long::toString)
        .collect(Collectors.joining(", ", dtype + " [", "]"));
  }
}
