package io.moe4j;

/** Uses of streams: owned ones are held open meanwhile, borrowed ones are the caller's business. */
final class StreamUse {
  private StreamUse() {}

  /** Begins a use of a stream for work on a device, and returns its handle; see {@link #end}. */
  static long begin(MoeDevice device, Stream stream) {
    if (Arguments.notNull("stream", stream) instanceof CudaStream owned) {
      if (owned.device() != device) {
        throw new InvalidArgumentException(
            "stream",
            "one of "
                + (owned.device().device().equals(device.device()) ? "another opened " : "")
                + owned.device().device(),
            "one of the opened " + device.device());
      }
      owned.acquire();
    }
    long handle = stream.handle();
    if (handle != 0 && device.device().kind() == DeviceKind.CPU) {
      throw new InvalidArgumentException(
          "stream", "0x" + Long.toHexString(handle), "Stream.DEFAULT on the CPU");
    }
    return handle;
  }

  /** Ends what {@link #begin} began. */
  static void end(Stream stream) {
    if (stream instanceof CudaStream owned) {
      owned.release();
    }
  }

  /** The capture that the stream's work goes into; null if it runs or is none of moe4j's. */
  static Capture capture(Stream stream) {
    return stream instanceof CudaStream owned ? owned.capture() : null;
  }

  /** For what cannot be captured. */
  static void refuseCapture(Stream stream) {
    if (capture(stream) != null) {
      throw new InvalidArgumentException(
          "stream", "one that is being captured", "one whose work runs: this cannot be captured");
    }
  }
}
