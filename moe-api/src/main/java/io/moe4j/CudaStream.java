package io.moe4j;

import io.moe4j.spi.BackendGraph;
import io.moe4j.spi.BackendStreams;
import java.lang.ref.Reference;
import java.util.concurrent.atomic.AtomicReference;

/**
 * A stream of a CUDA device that moe4j owns, made by {@link MoeDevice#newStream}: its work runs in
 * order, beside that of other streams and of the default one. A stream of the caller's own, e.g. a
 * server's {@code cudaStream_t}, needs no such object: it is {@code () -> handle}, a {@link
 * Stream}.
 *
 * <p>Safe from any thread; while one thread {@link #capture captures}, all others are refused.
 * Close it once; work that it still has is done nevertheless.
 */
public final class CudaStream implements Stream, AutoCloseable {
  private final MoeDevice device;
  private final BackendStreams backend;
  private final long handle;
  private final NativeResource resource;
  private final AtomicReference<Capture> capture = new AtomicReference<>();

  CudaStream(MoeDevice device, BackendStreams backend) {
    this.device = device;
    this.backend = backend;
    long created = backend.createStream();
    this.handle = created;
    this.resource =
        new NativeResource(this, "stream", device.owned(() -> backend.destroyStream(created)));
  }

  /** The device whose work it queues. */
  public MoeDevice device() {
    return device;
  }

  /** The {@code cudaStream_t}, for other users of CUDA. Refused when closed. */
  @Override
  public long handle() {
    resource.check();
    return handle;
  }

  /** Waits, on the host, for all work of this stream. */
  public void synchronize() {
    device.synchronize(this);
  }

  /** Lets later work of this stream wait, on the device, for what {@code event} marks. */
  public void waitFor(CudaEvent event) {
    Arguments.notNull("event", event);
    StreamUse.refuseCapture(this);
    long waiting = StreamUse.begin(device, this);
    try {
      event.use(device, marked -> backend.waitFor(waiting, marked));
    } finally {
      StreamUse.end(this);
    }
  }

  /**
   * Records what {@code launches} enqueues on this stream as a graph, instead of running it. Runs
   * of layers, {@link BlockFormats block format operations} and {@link Router#logits router logits}
   * can be recorded; copies and whatever waits cannot. The graph holds the layers, workspaces and
   * tensors of the recorded calls open until it is closed: replays read and write these tensors,
   * whatever they contain by then. Recorded are launches on this stream, in this thread.
   *
   * @throws InvalidArgumentException when nothing was enqueued on this stream, or another call uses
   *     it at the moment
   */
  public CudaGraph capture(Runnable launches) {
    Arguments.notNull("launches", launches);
    Capture recording = new Capture();
    resource.acquire();
    try {
      if (!capture.compareAndSet(null, recording)) {
        throw new InvalidArgumentException(
            "stream", "one that is being captured", "one that is not");
      }
      try {
        // A use that began before the announcement does not know of the capture.
        if (resource.isShared()) {
          throw new InvalidArgumentException(
              "stream", "one that another call uses", "one that is captured by this call alone");
        }
        return new CudaGraph(device, record(launches), recording);
      } catch (Throwable e) {
        recording.release();
        throw e;
      } finally {
        capture.set(null);
      }
    } finally {
      resource.release();
      Reference.reachabilityFence(this);
    }
  }

  private BackendGraph record(Runnable launches) {
    backend.beginCapture(handle);
    try {
      launches.run();
    } catch (Throwable e) {
      backend.abandonCapture(handle);
      throw e;
    }
    BackendGraph graph = backend.endCapture(handle);
    if (graph.size() == 0) {
      graph.close();
      throw new InvalidArgumentException(
          "launches", "no work for this stream", "some that is enqueued on it");
    }
    return graph;
  }

  /** Begins a use by this thread; pairs with {@link #release}. */
  void acquire() {
    resource.acquire();
    Capture recording = capture.get();
    if (recording != null && !recording.isOfThisThread()) {
      resource.release();
      throw new InvalidArgumentException(
          "stream", "one that another thread captures", "one that is not being captured");
    }
  }

  /** Ends a use. */
  void release() {
    resource.release();
  }

  /** What this stream's work goes into; null when it runs. */
  Capture capture() {
    return capture.get();
  }

  /** Frees the stream. Refused while a call uses it; the second call does nothing. */
  @Override
  public void close() {
    resource.close();
  }
}
