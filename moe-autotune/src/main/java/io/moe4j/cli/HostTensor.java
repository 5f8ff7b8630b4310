package io.moe4j.cli;

import io.moe4j.DType;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeDevice;
import io.moe4j.OwnedTensor;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A tensor in memory of the host, of less than 2 GiB: what files hold and devices are given.
 *
 * @param spec element type and shape
 * @param bytes the elements, little-endian, from position 0
 */
record HostTensor(TensorSpec spec, ByteBuffer bytes) {

  /** Zeros. */
  static HostTensor zeros(TensorSpec spec) {
    if (spec.bytes() > Integer.MAX_VALUE) {
      throw new InvalidArgumentException(
          "tokens", spec, "fewer: tensors of the application have less than 2 GiB");
    }
    return new HostTensor(
        spec, ByteBuffer.allocateDirect((int) spec.bytes()).order(ByteOrder.LITTLE_ENDIAN));
  }

  /** Copies a tensor from its device. */
  static HostTensor download(Tensor tensor) {
    HostTensor host = zeros(tensor.spec());
    tensor.copyTo(host.bytes.duplicate());
    return host;
  }

  /** Copies this tensor to a device; the result is to be closed by the caller. */
  OwnedTensor upload(MoeDevice device) {
    return device.upload(spec, bytes.duplicate());
  }

  /** An element of an F32 or BF16 tensor by its row-major index. */
  float floatAt(int index) {
    return spec.dtype() == DType.BF16
        ? Bf16.toFloat(bytes.getShort(2 * index))
        : bytes.getFloat(4 * index);
  }

  /** An element of an I32 tensor by its row-major index. */
  int intAt(int index) {
    return bytes.getInt(4 * index);
  }

  /** The elements as they are stored: the same bytes at their place. */
  ByteBuffer view() {
    return bytes.duplicate().order(ByteOrder.LITTLE_ENDIAN);
  }

  /** These F32 elements rounded to BF16, to nearest, ties to even. */
  HostTensor toBf16() {
    HostTensor rounded = zeros(new TensorSpec(DType.BF16, spec.shape()));
    for (int i = 0; i < spec.elements(); i++) {
      rounded.bytes.putShort(2 * i, Bf16.fromFloat(bytes.getFloat(4 * i)));
    }
    return rounded;
  }
}
