package io.moe4j;

/** What tensors have to be. Each check names the argument, and allocates only when it refuses. */
final class TensorChecks {
  private TensorChecks() {}

  /** A tensor of this type, [dim0]. */
  static void is(String name, Tensor tensor, DType dtype, long dim0) {
    TensorSpec found = spec(name, tensor);
    if (found.dtype() != dtype || found.rank() != 1 || found.dim(0) != dim0) {
      throw wrong(name, found, TensorSpec.of(dtype, dim0).toString());
    }
  }

  /** A tensor of this type, [dim0, dim1]. */
  static void is(String name, Tensor tensor, DType dtype, long dim0, long dim1) {
    TensorSpec found = spec(name, tensor);
    if (found.dtype() != dtype || !isShape(found, dim0, dim1)) {
      throw wrong(name, found, TensorSpec.of(dtype, dim0, dim1).toString());
    }
  }

  /** A tensor of this type, [dim0, dim1, dim2]. */
  static void is(String name, Tensor tensor, DType dtype, long dim0, long dim1, long dim2) {
    TensorSpec found = spec(name, tensor);
    if (found.dtype() != dtype
        || found.rank() != 3
        || found.dim(0) != dim0
        || found.dim(1) != dim1
        || found.dim(2) != dim2) {
      throw wrong(name, found, TensorSpec.of(dtype, dim0, dim1, dim2).toString());
    }
  }

  /** A tensor of exactly this type and shape. */
  static void is(String name, Tensor tensor, TensorSpec expected) {
    if (!spec(name, tensor).equals(expected)) {
      throw wrong(name, tensor.spec(), expected.toString());
    }
  }

  /** F32 or BF16, [dim0]. */
  static void isFloats(String name, Tensor tensor, long dim0) {
    TensorSpec found = spec(name, tensor);
    if (!isFloat(found.dtype()) || found.rank() != 1 || found.dim(0) != dim0) {
      throw wrong(name, found, "BF16 or " + TensorSpec.of(DType.F32, dim0));
    }
  }

  /** F32 or BF16, [dim0, dim1]. */
  static void isFloats(String name, Tensor tensor, long dim0, long dim1) {
    TensorSpec found = spec(name, tensor);
    if (!isFloat(found.dtype()) || !isShape(found, dim0, dim1)) {
      throw wrong(name, found, "BF16 or " + TensorSpec.of(DType.F32, dim0, dim1));
    }
  }

  /** Two dimensions, of F32 or BF16. */
  static void isFloatMatrix(String name, Tensor tensor) {
    TensorSpec found = spec(name, tensor);
    if (!isFloat(found.dtype()) || found.rank() != 2) {
      throw wrong(name, found, "F32 or BF16 with two dimensions");
    }
  }

  /** Two dimensions, the second a multiple of {@code columnMultiple}. */
  static void isMatrix(String name, Tensor tensor, int columnMultiple) {
    TensorSpec found = spec(name, tensor);
    if (found.rank() != 2 || found.dim(1) % columnMultiple != 0) {
      throw wrong(name, found, "two dimensions, the second a multiple of " + columnMultiple);
    }
  }

  /** A tensor of this opened device. */
  static void isOn(String name, Tensor tensor, MoeDevice device) {
    if (tensor.device() != device) {
      throw new InvalidArgumentException(
          name,
          "a tensor of "
              + (tensor.device().device().equals(device.device())
                  ? "another opened " + device.device()
                  : tensor.device().device()),
          "one of this " + device.device());
    }
  }

  /** A tensor that may be written: not one over a read-only buffer. */
  static void isWritable(String name, Tensor tensor) {
    if (!tensor.writable()) {
      throw new InvalidArgumentException(name, "a read-only buffer", "memory to write to");
    }
  }

  /** Memory that shares no byte with another's. Both have to be open. */
  static void isApart(String name, Tensor written, String otherName, Tensor other) {
    if (overlap(written, other)) {
      throw new InvalidArgumentException(
          name, "memory that overlaps " + otherName, "memory of its own");
    }
  }

  /** Whether two open tensors share a byte. */
  static boolean overlap(Tensor a, Tensor b) {
    long bytesA = a.spec().bytes();
    long bytesB = b.spec().bytes();
    long distance = b.address() - a.address();
    return bytesA > 0 && bytesB > 0 && distance < bytesA && -distance < bytesB;
  }

  private static TensorSpec spec(String name, Tensor tensor) {
    return Arguments.notNull(name, tensor).spec();
  }

  private static boolean isFloat(DType dtype) {
    return dtype == DType.F32 || dtype == DType.BF16;
  }

  private static boolean isShape(TensorSpec found, long dim0, long dim1) {
    return found.rank() == 2 && found.dim(0) == dim0 && found.dim(1) == dim1;
  }

  private static InvalidArgumentException wrong(String name, TensorSpec found, String expected) {
    return new InvalidArgumentException(name, found, expected);
  }
}
