package io.moe4j;

/**
 * A queue of device work, in order. On the CPU there is only {@link #DEFAULT}. On a CUDA device it
 * is a {@link CudaStream}, or borrowed from whoever has a {@code cudaStream_t} and keeps it alive:
 * {@code () -> handle}.
 */
public interface Stream {
  /** The device's default stream; on the CPU, the calling thread. */
  Stream DEFAULT = () -> 0L;

  /** The back end's handle, e.g. a {@code cudaStream_t}; 0 for the default stream. */
  long handle();
}
