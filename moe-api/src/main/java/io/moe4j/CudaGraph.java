package io.moe4j;

import io.moe4j.spi.BackendGraph;
import java.lang.ref.Reference;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Launches recorded once, by {@link CudaStream#capture}, and replayed by a single call: for one to
 * a few hundred tokens the host takes longer to launch a layer's kernels than a replay takes to
 * start. Shapes, tactics and addresses are the recorded ones; contents are read anew by each
 * replay: new tokens and a new routing go into the same tensors.
 *
 * <p>Replays of one graph run one after the other, whatever their streams. One thread at a time;
 * close it once, which releases the layers, workspaces and tensors that it holds open.
 */
public final class CudaGraph implements AutoCloseable {
  private final MoeDevice device;
  private final BackendGraph backend;
  private final NativeResource resource;
  private final AtomicBoolean busy = new AtomicBoolean();

  CudaGraph(MoeDevice device, BackendGraph backend, Capture capture) {
    this.device = device;
    this.backend = backend;
    this.resource =
        new NativeResource(
            this,
            "graph",
            device.owned(
                () -> {
                  backend.close();
                  capture.release();
                }));
  }

  /** The device that it runs on. */
  public MoeDevice device() {
    return device;
  }

  /** Enqueues the recorded work on a stream of the device, and does not wait for it. */
  public void replay(Stream stream) {
    resource.acquire();
    try {
      StreamUse.refuseCapture(stream);
      long handle = StreamUse.begin(device, stream);
      try {
        replay(handle);
      } finally {
        StreamUse.end(stream);
      }
    } finally {
      resource.release();
      Reference.reachabilityFence(this);
    }
  }

  private void replay(long stream) {
    if (!busy.compareAndSet(false, true)) {
      throw new InvalidArgumentException(
          "graph", "one that another thread replays", "one graph for each thread");
    }
    try {
      backend.replay(stream);
    } finally {
      busy.set(false);
    }
  }

  /**
   * Frees the graph and releases what it holds; replays under way come to their end. Refused while
   * a call uses it; the second call does nothing.
   */
  @Override
  public void close() {
    resource.close();
  }
}
