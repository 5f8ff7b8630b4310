package io.moe4j.autotune;

import io.moe4j.autotune.search.BucketResult;
import java.util.function.Consumer;

/** What the tuner tells the flight recorder. Silent on run-time images that come without one. */
interface TunerEvents {
  /** Of this Java run time. Safe for use by several threads. */
  TunerEvents INSTANCE =
      ModuleLayer.boot().findModule("jdk.jfr").isPresent() ? new FlightRecorder() : new Silence();

  /**
   * The search of a token bucket begins.
   *
   * @return takes its result, once, in the same thread
   */
  Consumer<BucketResult> bucketBegins();

  /** A shape that no tuning covers is launched for the first time. */
  void shapeUncovered(String key, Selection selection);

  /** Tells nobody. */
  final class Silence implements TunerEvents {
    @Override
    public Consumer<BucketResult> bucketBegins() {
      return result -> {};
    }

    @Override
    public void shapeUncovered(String key, Selection selection) {}
  }
}
