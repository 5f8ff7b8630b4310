package io.moe4j.backend;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.moe4j.DeviceException;
import io.moe4j.DeviceMemoryException;
import io.moe4j.spi.BackendGraph;
import io.moe4j.spi.BackendStreams;
import java.nio.ByteBuffer;
import java.util.function.IntSupplier;
import org.bytedeco.cuda.cudart.CUctx_st;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUgraphExec_st;
import org.bytedeco.cuda.cudart.CUgraph_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.SizeTPointer;

/**
 * Streams, events and graphs of one CUDA device, by the CUDA runtime. The only class that touches
 * it: {@code cudart} cannot be initialized without a driver, see {@link
 * NativeLibrary#loadCudaRuntime}. It works beside the runtime inside {@code libmoe4j_cuda.so}: both
 * use the device's primary context, and streams are the driver's.
 */
final class CudaStreams implements BackendStreams {
  /** What a thread had before the call under way: no object a call. */
  private static final ThreadLocal<CUctx_st> CALLERS = ThreadLocal.withInitial(CUctx_st::new);

  private final int device;
  private final CUctx_st primary = new CUctx_st(); // the context that the runtime uses there

  CudaStreams(int device) {
    this.device = device;
    check(cudart.cuDevicePrimaryCtxRetain(primary, device), "choosing the device");
  }

  // ---- streams

  @Override
  public long createStream() {
    CUstream_st stream = new CUstream_st();
    onDevice(
        () -> cudart.cudaStreamCreateWithFlags(stream, cudart.cudaStreamNonBlocking),
        "creating a stream");
    return stream.address();
  }

  @Override
  public void destroyStream(long stream) {
    destroy(() -> cudart.cudaStreamDestroy(stream(stream)));
  }

  @Override
  public void waitFor(long stream, long event) {
    onDevice(
        () -> cudart.cudaStreamWaitEvent(stream(stream), event(event)), "letting a stream wait");
  }

  // ---- events

  @Override
  public long createEvent() {
    CUevent_st event = new CUevent_st();
    onDevice(() -> cudart.cudaEventCreate(event), "creating an event");
    return event.address();
  }

  @Override
  public void destroyEvent(long event) {
    destroy(() -> cudart.cudaEventDestroy(event(event)));
  }

  @Override
  public void record(long event, long stream) {
    onDevice(() -> cudart.cudaEventRecord(event(event), stream(stream)), "recording an event");
  }

  @Override
  public boolean isComplete(long event) {
    int[] error = new int[1];
    onDevice(
        () -> {
          error[0] = cudart.cudaEventQuery(event(event));
          return error[0] == cudart.cudaErrorNotReady ? cudart.cudaSuccess : error[0];
        },
        "asking for an event");
    return error[0] == cudart.cudaSuccess;
  }

  @Override
  public void await(long event) {
    onDevice(() -> cudart.cudaEventSynchronize(event(event)), "waiting for an event");
  }

  @Override
  public double nanosecondsBetween(long begin, long end) {
    float[] milliseconds = new float[1];
    onDevice(
        () -> cudart.cudaEventElapsedTime(milliseconds, event(begin), event(end)),
        "asking for the time between two events");
    return 1e6 * milliseconds[0];
  }

  // ---- graphs

  @Override
  public void beginCapture(long stream) {
    // Other threads may allocate meanwhile: their calls have nothing to do with this stream.
    onDevice(
        () ->
            cudart.cudaStreamBeginCapture(stream(stream), cudart.cudaStreamCaptureModeThreadLocal),
        "beginning a capture");
  }

  @Override
  public BackendGraph endCapture(long stream) {
    CUgraph_st graph = new CUgraph_st();
    onDevice(() -> cudart.cudaStreamEndCapture(stream(stream), graph), "ending a capture");
    try {
      SizeTPointer size = new SizeTPointer(new BytePointer(ByteBuffer.allocateDirect(Long.BYTES)));
      onDevice(() -> cudart.cudaGraphGetNodes(graph, null, size), "counting the nodes of a graph");
      CUgraphExec_st executable = new CUgraphExec_st();
      onDevice(() -> cudart.cudaGraphInstantiate(executable, graph, 0), "instantiating a graph");
      return new Graph(executable, size.get());
    } finally {
      destroy(() -> cudart.cudaGraphDestroy(graph));
    }
  }

  @Override
  public void abandonCapture(long stream) {
    CUgraph_st graph = new CUgraph_st();
    onDevice(
        () -> {
          // A capture that failed gives an error and no graph.
          if (cudart.cudaStreamEndCapture(stream(stream), graph) == cudart.cudaSuccess) {
            return cudart.cudaGraphDestroy(graph);
          }
          clearError();
          return cudart.cudaSuccess;
        },
        "abandoning a capture");
  }

  private final class Graph implements BackendGraph {
    private final CUgraphExec_st executable;
    private final long size;
    private CUstream_st stream = new CUstream_st();
    private final IntSupplier launch;

    Graph(CUgraphExec_st executable, long size) {
      this.executable = executable;
      this.size = size;
      launch = () -> cudart.cudaGraphLaunch(executable, stream);
    }

    @Override
    public long size() {
      return size;
    }

    @Override
    public void replay(long handle) {
      // Most replays go to the stream of the one before: no object a replay.
      if (stream.address() != handle) {
        stream = stream(handle);
      }
      onDevice(launch, "replaying a graph");
    }

    @Override
    public void close() {
      destroy(() -> cudart.cudaGraphExecDestroy(executable));
    }
  }

  // ---- what all of them need

  /** The default stream is NULL. */
  private static CUstream_st stream(long handle) {
    return new CUstream_st(Address.of(handle));
  }

  private static CUevent_st event(long handle) {
    return new CUevent_st(Address.of(handle));
  }

  /**
   * Runs a call of the runtime with the device current, and puts back what the thread had: a
   * context of the driver, or none. The runtime calls none device 0; to choose that afterwards
   * would make a context on a GPU that nobody asked for.
   */
  private void onDevice(IntSupplier call, String what) {
    CUctx_st callers = CALLERS.get();
    check(cudart.cuCtxGetCurrent(callers), what);
    if (callers.address() == primary.address()) {
      check(call.getAsInt(), what);
      return;
    }
    check(cudart.cuCtxSetCurrent(primary), what);
    try {
      check(call.getAsInt(), what);
    } finally {
      check(cudart.cuCtxSetCurrent(callers), what);
    }
  }

  /** Nothing can be done about an error, nor does it happen but on a lost device. */
  private void destroy(IntSupplier call) {
    try {
      onDevice(call, "destroying");
    } catch (DeviceException | DeviceMemoryException e) {
      // What is being closed is gone either way.
    }
  }

  /** An error of the runtime or of the driver, which number them alike. */
  private void check(int error, String what) {
    if (error == cudart.cudaSuccess) {
      return;
    }
    clearError();
    String message =
        "CUDA: %s failed on cuda:%d: %s"
            .formatted(what, device, cudart.cudaGetErrorString(error).getString(UTF_8));
    throw error == cudart.cudaErrorMemoryAllocation
        ? new DeviceMemoryException(message)
        : new DeviceException(message);
  }

  /** The runtime remembers a thread's last error; nobody else is to find this one. */
  @SuppressWarnings("CheckReturnValue")
  private static void clearError() {
    cudart.cudaGetLastError();
  }
}
