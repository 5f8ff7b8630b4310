package io.moe4j;

import java.lang.ref.Reference;
import java.util.function.LongConsumer;

/** Keeps a device and tensors of it open while an operation uses them. */
final class TensorUse {
  private TensorUse() {}

  /**
   * Runs an operation with a stream's handle. What is closed already is refused; null tensors are
   * left out. An operation that is captured goes on using the tensors until the graph is closed.
   */
  static void during(MoeDevice device, Stream stream, LongConsumer operation, Tensor... tensors) {
    int acquired = 0;
    device.acquire();
    try {
      long handle = StreamUse.begin(device, stream);
      try {
        for (Tensor tensor : tensors) {
          if (tensor != null) {
            tensor.acquire();
          }
          acquired++;
        }
        operation.accept(handle);
        keep(StreamUse.capture(stream), tensors);
      } finally {
        release(tensors, acquired);
        StreamUse.end(stream);
      }
    } finally {
      device.release();
      // Nobody may find them unreachable, and free them, before the operation has ended.
      Reference.reachabilityFence(tensors);
    }
  }

  private static void keep(Capture capture, Tensor[] tensors) {
    if (capture != null) {
      for (Tensor tensor : tensors) {
        if (tensor != null) {
          tensor.acquire();
          capture.keep(tensor::release);
        }
      }
    }
  }

  private static void release(Tensor[] tensors, int acquired) {
    for (int i = 0; i < acquired; i++) {
      if (tensors[i] != null) {
        tensors[i].release();
      }
    }
  }
}
