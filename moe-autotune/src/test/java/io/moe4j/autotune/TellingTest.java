package io.moe4j.autotune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.RoutingMode;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.search.BucketResult;
import io.moe4j.autotune.search.SearchListener;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeTactic;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the tuner says of itself: log, statistics, events, progress. */
class TellingTest {
  @TempDir private Path folder;

  private final Logger logger = Logger.getLogger(Autotuner.class.getName());
  private final List<String> warnings = new ArrayList<>();
  private final Handler handler =
      new Handler() {
        @Override
        public void publish(LogRecord record) {
          if (record.getLevel().equals(Level.WARNING)) {
            warnings.add(new SimpleFormatter().formatMessage(record));
          }
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
      };

  @BeforeEach
  void listen() {
    logger.addHandler(handler);
    logger.setUseParentHandlers(false);
  }

  @AfterEach
  void stopListening() {
    logger.removeHandler(handler);
    logger.setUseParentHandlers(true);
  }

  @Test
  void anUncoveredShapeIsWarnedOfOnceIfOthersAreTuned() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      tuned.run(RoutingMode.PACKED, 4);
      assertEquals(List.of(), warnings, "nobody tunes here");
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      for (int i = 0; i < 5; i++) {
        tuned.run(RoutingMode.PACKED, 4);
        tuned.run(RoutingMode.PACKED, 1000 + i);
        tuned.run(RoutingMode.UNPACKED, 9 + i % 3);
      }
      assertEquals(2, warnings.size(), warnings::toString);
      assertTrue(warnings.get(0).contains("no tuning covers 1000 tokens"), warnings::toString);
      assertTrue(warnings.get(1).contains("routing=unpacked"), warnings::toString);
      assertTrue(warnings.get(1).contains("layer/default"), warnings::toString);
      assertEquals(11, tuned.tuner.statistics().misses());
      assertEquals(3, tuned.tuner.statistics().uncovered().size());
    }
  }

  @Test
  void statisticsSayWhatWasTriedChosenAndWhatFailed() {
    FakeGpu gpu =
        new FakeGpu(
            FakeTactic.of("default", 100),
            FakeTactic.of("fast", 50),
            FakeTactic.of("refused", 10).behaving(FakeTactic.Behaviour.REFUSED));
    try (Tuned tuned = new Tuned(gpu, o -> o)) {
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      TunerStatistics statistics = tuned.tuner.statistics();
      assertEquals(7, statistics.tuned().get("fused_moe"));
      assertEquals(14, statistics.tacticsTried());
      assertEquals(gpu.launches("default") + gpu.launches("fast"), statistics.launches());
      assertEquals("layer/fast", statistics.chosen().values().iterator().next());
      assertEquals(
          List.of("fused_moe/layer/refused"), List.copyOf(statistics.failedTactics().keySet()));
      String text = statistics.toString();
      assertTrue(text.contains("fused_moe: 7 buckets tuned"), text);
      assertTrue(text.contains("refused does not do this"), text);
      tuned.tuner.resetStatistics();
      assertEquals(0, tuned.tuner.statistics().launches());
      assertTrue(tuned.tuner.statistics().chosen().isEmpty());
    }
  }

  @Test
  void theFlightRecorderHearsOfBucketsAndMisses() throws Exception {
    Path file = folder.resolve("tuning.jfr");
    try (Recording recording = new Recording();
        Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      recording.enable("io.moe4j.BucketTuned").withoutThreshold();
      recording.enable("io.moe4j.ShapeUncovered");
      recording.start();
      tuned.run(RoutingMode.PACKED, 5);
      tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      recording.stop();
      recording.dump(file);
    }
    List<RecordedEvent> events = RecordingFile.readAllEvents(file);
    List<RecordedEvent> tuned =
        events.stream()
            .filter(event -> event.getEventType().getName().equals("io.moe4j.BucketTuned"))
            .toList();
    assertEquals(7, tuned.size());
    assertEquals("TUNED", tuned.get(0).getString("status"));
    assertEquals("layer/few", tuned.get(0).getString("tactic"));
    assertEquals(3, tuned.get(0).getInt("tactics"));
    assertTrue(tuned.get(0).getDouble("speedup") > 1.5);
    RecordedEvent miss =
        events.stream()
            .filter(event -> event.getEventType().getName().equals("io.moe4j.ShapeUncovered"))
            .findFirst()
            .orElseThrow();
    assertTrue(miss.getString("key").endsWith("@5"), miss.getString("key"));
    assertEquals("DEFAULT", miss.getString("source"));
    assertTrue(Files.size(file) > 0);
  }

  @Test
  void aListenerCanDrawAProgressBar() {
    List<String> heard = new ArrayList<>();
    SearchListener listener =
        new SearchListener() {
          private double last;

          @Override
          public void bucketStarted(TuningKey key, int bucket, int buckets) {
            heard.add("start " + key.tokens() + " " + bucket + "/" + buckets);
            last = 0;
          }

          @Override
          public void tacticMeasured(
              TuningKey key, double progress, String best, double speedup, Duration remaining) {
            assertTrue(progress >= last && progress <= 1);
            last = progress;
            if (progress == 1) {
              heard.remove("best " + best);
              heard.add("best " + best);
              assertFalse(speedup < 1);
              assertTrue(remaining.compareTo(Duration.ofHours(1)) < 0);
            }
          }

          @Override
          public void bucketFinished(BucketResult result) {
            heard.add(result.status() + " " + result.decision().orElseThrow().candidate());
          }
        };
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      tuned.tuner.tune(
          tuned.layer,
          Tuned.PACKED,
          TuningOptions.DEFAULT
              .withBuckets(TokenBuckets.of(4, 64))
              .withBudget(Duration.ofHours(1))
              .withListener(listener));
    }
    assertEquals(
        List.of(
            "start 4 0/2",
            "best few",
            "TUNED layer/few",
            "start 64 1/2",
            "best many",
            "TUNED layer/many"),
        heard);
  }

  @Test
  void aReportIsReadable() {
    try (Tuned tuned = new Tuned(Tuned.threeTactics(), o -> o)) {
      TuningReport report = tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertTrue(
          report.toString().contains("unknown  layer/few 6.0 us, default 11.0 us"),
          report.toString());
      TuningReport again = tuned.tuner.tune(tuned.layer, Tuned.PACKED, TuningOptions.DEFAULT);
      assertTrue(again.toString().contains("tuned before"), again.toString());
    }
  }
}
