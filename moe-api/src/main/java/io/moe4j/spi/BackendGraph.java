package io.moe4j.spi;

/** Recorded device work. One thread at a time. */
public interface BackendGraph extends AutoCloseable {

  /** Pieces of work in it, such as kernels and copies. */
  long size();

  /** Enqueues all of it on a stream, 0 for the default one. */
  void replay(long stream);

  /** Frees it when its work is done, without waiting; called once. Must not throw. */
  @Override
  void close();
}
