package io.moe4j;

import java.lang.ref.Reference;

/** Keeps a device and tensors of it open while an operation uses them. */
final class TensorUse {
  private TensorUse() {}

  /** Runs an operation. What is closed already is refused; null tensors are left out. */
  static void during(MoeDevice device, Runnable operation, Tensor... tensors) {
    int acquired = 0;
    device.acquire();
    try {
      for (Tensor tensor : tensors) {
        if (tensor != null) {
          tensor.acquire();
        }
        acquired++;
      }
      operation.run();
    } finally {
      for (int i = 0; i < acquired; i++) {
        if (tensors[i] != null) {
          tensors[i].release();
        }
      }
      device.release();
      // Nobody may find them unreachable, and free them, before the operation has ended.
      Reference.reachabilityFence(tensors);
    }
  }
}
