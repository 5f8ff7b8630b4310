package io.moe4j;

/** Kinds of devices that layers run on. */
public enum DeviceKind {
  /** The processor; host memory. */
  CPU,
  /** An NVIDIA GPU; device memory. */
  CUDA
}
