package io.moe4j.spi;

import io.moe4j.Stream;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.function.LongConsumer;

/**
 * Times launches by the device's clock: recorded once as a graph, replayed between two events. So
 * the host's time is no part of it. Caches are as the launches leave them: a sequence that reads
 * more than a cache holds finds nothing of its last replay there.
 */
final class GraphLaunchTimer implements LaunchTimer {
  private final BackendDevice device;
  private final BackendStreams streams;
  private final long stream;
  private final long begin;
  private final long end;

  /** What frees the stream, the events and open graphs, the latest first. */
  private final Deque<Runnable> destroyers = new ArrayDeque<>();

  GraphLaunchTimer(BackendDevice device, BackendStreams streams) {
    this.device = device;
    this.streams = streams;
    try {
      this.stream = owned(streams.createStream(), streams::destroyStream);
      this.begin = owned(streams.createEvent(), streams::destroyEvent);
      this.end = owned(streams.createEvent(), streams::destroyEvent);
    } catch (Throwable e) {
      close();
      throw e;
    }
  }

  private long owned(long handle, LongConsumer destroy) {
    destroyers.push(() -> destroy.accept(handle));
    return handle;
  }

  @Override
  public Timing prepare(Launches launches) {
    // The inputs were filled on the default stream, which this one does not wait for.
    device.synchronize(Stream.DEFAULT.handle());
    return new Replay(record(launches));
  }

  private BackendGraph record(Launches launches) {
    streams.beginCapture(stream);
    try {
      launches.enqueue(() -> stream);
    } catch (Throwable e) {
      streams.abandonCapture(stream);
      throw e;
    }
    return streams.endCapture(stream);
  }

  private final class Replay implements Timing {
    private final BackendGraph graph;
    private final Runnable destroy;

    Replay(BackendGraph graph) {
      this.graph = graph;
      this.destroy = graph::close;
      destroyers.push(destroy);
    }

    @Override
    public long nanoseconds() {
      streams.record(begin, stream);
      graph.replay(stream);
      streams.record(end, stream);
      streams.await(end);
      return Math.round(streams.nanosecondsBetween(begin, end));
    }

    @Override
    public void close() {
      destroyers.remove(destroy);
      destroy.run();
    }
  }

  @Override
  public void close() {
    destroyers.forEach(Runnable::run);
  }
}
