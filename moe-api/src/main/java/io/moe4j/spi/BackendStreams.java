package io.moe4j.spi;

/**
 * Streams, events and graphs of a device whose work runs in queues. Handles are the device's own,
 * e.g. a {@code cudaStream_t}; arguments were checked before. Safe from any thread, but the capture
 * of a stream belongs to the thread that began it.
 */
public interface BackendStreams {

  /** A stream of its own, which does not wait for the default one. */
  long createStream();

  /** Frees a stream when its work is done, without waiting; called once. Must not throw. */
  void destroyStream(long stream);

  /** Lets later work of a stream wait, on the device, for what an event marks. */
  void waitFor(long stream, long event);

  /** An event that keeps the time. */
  long createEvent();

  /** Frees an event; called once. Must not throw. */
  void destroyEvent(long event);

  /** Marks the work that a stream, 0 for the default one, has so far. */
  void record(long event, long stream);

  /** Whether the work that a recorded event marks is done. */
  boolean isComplete(long event);

  /** Waits until the work that a recorded event marks is done. */
  void await(long event);

  /** Device time between two complete events. */
  double nanosecondsBetween(long begin, long end);

  /** From now on this thread's work for the stream is recorded instead of run. */
  void beginCapture(long stream);

  /** Ends a capture, and makes what it recorded ready to be replayed. */
  BackendGraph endCapture(long stream);

  /** Ends a capture, and forgets what it recorded. Must not throw. */
  void abandonCapture(long stream);
}
