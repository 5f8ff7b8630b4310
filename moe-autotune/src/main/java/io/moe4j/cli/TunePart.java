package io.moe4j.cli;

import io.moe4j.MoeLayer;
import io.moe4j.MoeSpec;
import io.moe4j.autotune.TuningReport;
import io.moe4j.autotune.profile.MoeCost;
import io.moe4j.autotune.profile.TuningFamily;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.search.BucketResult;
import io.moe4j.autotune.search.TacticTiming;
import io.moe4j.autotune.store.Plan;
import io.moe4j.autotune.store.TunedEntry;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/**
 * Makes a {@link TuneReport.Part} of what the tuner reports.
 *
 * <p>Its floors are of the roofline kind, with rates that were seen instead of promised: of all
 * tactics and token counts, the one that read most weights a second gives the rate of the memory,
 * the one that calculated most the rate of the arithmetic. So no time lies below its floor, and
 * what lies near it has no more to gain from another of these tactics.
 */
final class TunePart {
  private final MoeLayer layer;
  private double bytesPerSecond;
  private double flopsPerSecond;

  private TunePart(MoeLayer layer) {
    this.layer = layer;
  }

  /**
   * The part of one sweep.
   *
   * @param family the tuned calls
   * @param known all tunings, those that were not measured now included
   */
  static TuneReport.Part of(
      String experts,
      String routing,
      MoeLayer layer,
      TuningFamily family,
      TuningReport report,
      Plan known) {
    List<TuneReport.Bucket> buckets = new ArrayList<>();
    for (BucketResult result : report.results()) {
      buckets.add(bucket(result, known.entries().get(result.key())));
    }
    for (TuningKey key : report.settled()) {
      buckets.add(tunedBefore(key, known.entries().get(key)));
    }
    buckets.sort(Comparator.comparingLong(TuneReport.Bucket::tokens));
    TunePart part = new TunePart(layer);
    buckets.forEach(part::addRates);
    boolean measured = part.bytesPerSecond > 0;
    return new TuneReport.Part(
        experts,
        routing,
        describe(layer.spec()),
        measured ? part.bytesPerSecond : null,
        measured ? part.flopsPerSecond : null,
        buckets.stream().map(part::withFloor).toList());
  }

  private static TuneReport.Bucket bucket(BucketResult result, TunedEntry entry) {
    return new TuneReport.Bucket(
        result.key().tokens(),
        result.status().name().toLowerCase(Locale.ROOT).replace('_', ' '),
        result.detail(),
        entry == null ? null : entry.tactic(),
        entry == null ? null : (double) entry.nanos(),
        entry == null ? null : (double) entry.defaultNanos(),
        null,
        result.timings().stream().map(TunePart::tactic).toList());
  }

  private static TuneReport.Bucket tunedBefore(TuningKey key, TunedEntry entry) {
    return new TuneReport.Bucket(
        key.tokens(),
        "tuned before",
        "",
        entry.tactic(),
        (double) entry.nanos(),
        (double) entry.defaultNanos(),
        null,
        List.of());
  }

  private static TuneReport.Tactic tactic(TacticTiming timing) {
    return new TuneReport.Tactic(
        timing.tactic(),
        timing.outcome().name().toLowerCase(Locale.ROOT),
        timing.detail(),
        timing.nanos().isPresent() ? timing.nanos().getAsDouble() : null,
        timing.samples());
  }

  private void addRates(TuneReport.Bucket bucket) {
    if (bucket.tactic() != null) {
      MoeCost cost = MoeCost.of(layer, bucket.tokens());
      bytesPerSecond = Math.max(bytesPerSecond, cost.weightBytes() * 1e9 / bucket.nanos());
      flopsPerSecond = Math.max(flopsPerSecond, cost.flops() * 1e9 / bucket.nanos());
    }
  }

  private TuneReport.Bucket withFloor(TuneReport.Bucket bucket) {
    if (bytesPerSecond == 0) {
      return bucket;
    }
    return new TuneReport.Bucket(
        bucket.tokens(),
        bucket.status(),
        bucket.detail(),
        bucket.tactic(),
        bucket.nanos(),
        bucket.defaultNanos(),
        MoeCost.of(layer, bucket.tokens()).floorNanos(bytesPerSecond, flopsPerSecond),
        bucket.tactics());
  }

  private static String describe(MoeSpec spec) {
    return "H = %d, I = %d, %d experts, top %d, %s weights, %s activations"
        .formatted(
            spec.hiddenSize(),
            spec.intermediateSize(),
            spec.numExperts(),
            spec.topK(),
            spec.weightFormat(),
            spec.activationFormat());
  }
}
