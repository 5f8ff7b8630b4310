package io.moe4j.autotune;

import io.moe4j.autotune.search.BucketResult;
import java.util.function.Consumer;
import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** Events of the module jdk.jfr; nothing else refers to it. */
final class FlightRecorder implements TunerEvents {
  @Override
  public Consumer<BucketResult> bucketBegins() {
    BucketTuned event = new BucketTuned();
    event.begin();
    return event::record;
  }

  @Override
  public void shapeUncovered(String key, Selection selection) {
    ShapeUncovered event = new ShapeUncovered();
    event.key = key;
    event.tactic = selection.candidate().toString();
    event.source = selection.source().name();
    event.commit();
  }

  @Name("io.moe4j.BucketTuned")
  @Label("Bucket tuned")
  @Description("One token bucket of one operation was searched for its best tactic")
  @Category("moe4j")
  @StackTrace(false)
  static final class BucketTuned extends Event {
    @Label("Key")
    String key;

    @Label("Status")
    String status;

    @Label("Detail")
    String detail;

    @Label("Tactics tried")
    int tactics;

    @Label("Launches")
    long launches;

    @Label("Chosen tactic")
    String tactic;

    @Label("Speed-up over the default")
    double speedup;

    void record(BucketResult result) {
      end();
      if (shouldCommit()) {
        key = result.key().toString();
        status = result.status().name();
        detail = result.detail();
        tactics = result.timings().size();
        launches = result.launches();
        result
            .decision()
            .ifPresent(
                decision -> {
                  tactic = decision.candidate().toString();
                  speedup = decision.speedup();
                });
        commit();
      }
    }
  }

  @Name("io.moe4j.ShapeUncovered")
  @Label("Shape uncovered")
  @Description("A shape was launched for the first time for which no tuning was made")
  @Category("moe4j")
  @StackTrace(false)
  static final class ShapeUncovered extends Event {
    @Label("Key")
    String key;

    @Label("Tactic used instead")
    String tactic;

    @Label("Source of that tactic")
    String source;
  }
}
