package io.moe4j.autotune.search;

import com.google.common.collect.ImmutableMap;
import io.moe4j.RoutingSkew;
import io.moe4j.autotune.profile.Candidate;
import io.moe4j.autotune.search.TacticTiming.Outcome;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;

/** A candidate with what was measured of it so far. Confined to one thread. */
final class Contender {
  /** Assumed for a distribution where fewer samples than three say nothing about noise. */
  private static final double UNKNOWN_NOISE = 0.05;

  private final Candidate candidate;
  private final int order;
  private final double expectedSlowdown;
  private final Map<RoutingSkew, List<Double>> samples = new EnumMap<>(RoutingSkew.class);
  private Outcome outcome = Outcome.MEASURED;
  private String detail = "";
  private boolean resting;

  /**
   * A candidate without samples.
   *
   * @param order its place in the list; 0 is the default
   * @param expectedSlowdown how many times the fastest's time it is going to take, by what is known
   */
  Contender(Candidate candidate, int order, double expectedSlowdown) {
    this.candidate = candidate;
    this.order = order;
    this.expectedSlowdown = expectedSlowdown;
  }

  Candidate candidate() {
    return candidate;
  }

  int order() {
    return order;
  }

  double expectedSlowdown() {
    return expectedSlowdown;
  }

  void add(RoutingSkew skew, double nanos) {
    samples.computeIfAbsent(skew, key -> new ArrayList<>()).add(nanos);
  }

  void drop(Outcome outcome, String detail) {
    this.outcome = outcome;
    this.detail = detail;
  }

  boolean running() {
    return outcome == Outcome.MEASURED;
  }

  /** Takes no more turns: what is known of it is enough. */
  void rest() {
    resting = true;
  }

  boolean takesTurns() {
    return running() && !resting;
  }

  /** Passes that are complete, i.e. have a sample of each distribution. */
  int passes(Iterable<RoutingSkew> skews) {
    int passes = Integer.MAX_VALUE;
    for (RoutingSkew skew : skews) {
      passes = Math.min(passes, samples.getOrDefault(skew, List.of()).size());
    }
    return passes;
  }

  double median(RoutingSkew skew) {
    return Statistics.median(toArray(samples.get(skew)));
  }

  /** Blend of the median times. */
  double nanos(Map<RoutingSkew, Double> blend) {
    double sum = 0;
    double weights = 0;
    for (Map.Entry<RoutingSkew, Double> part : blend.entrySet()) {
      sum += part.getValue() * median(part.getKey());
      weights += part.getValue();
    }
    return sum / weights;
  }

  /**
   * This contender's time in units of the default's, blended over distributions. Both ran in each
   * pass, close together: what slowed them both down cancels out.
   */
  RelativeTime relativeTo(Contender reference, Map<RoutingSkew, Double> blend) {
    double ratio = 0;
    double variance = 0;
    double weights = 0;
    for (Map.Entry<RoutingSkew, Double> part : blend.entrySet()) {
      double weight = part.getValue();
      double[] ratios = ratios(reference, part.getKey());
      double noise = ratios.length < 3 ? UNKNOWN_NOISE : Statistics.medianError(ratios);
      ratio += weight * Statistics.median(ratios);
      variance += weight * weight * noise * noise;
      weights += weight;
    }
    return new RelativeTime(candidate, order, ratio / weights, Math.sqrt(variance) / weights);
  }

  /** Pass by pass. */
  private double[] ratios(Contender reference, RoutingSkew skew) {
    List<Double> own = samples.get(skew);
    List<Double> other = reference.samples.get(skew);
    double[] ratios = new double[Math.min(own.size(), other.size())];
    for (int pass = 0; pass < ratios.length; pass++) {
      ratios[pass] = own.get(pass) / other.get(pass);
    }
    return ratios;
  }

  /** What is known of it, with its time blended so. */
  TacticTiming timing(Map<RoutingSkew, Double> blend) {
    ImmutableMap.Builder<RoutingSkew, Double> medians = ImmutableMap.builder();
    int count = 0;
    for (Map.Entry<RoutingSkew, List<Double>> entry : samples.entrySet()) {
      medians.put(entry.getKey(), median(entry.getKey()));
      count += entry.getValue().size();
    }
    return new TacticTiming(
        candidate.runner().name(),
        candidate.tactic().name(),
        outcome,
        detail,
        passes(blend.keySet()) > 0 ? OptionalDouble.of(nanos(blend)) : OptionalDouble.empty(),
        medians.buildOrThrow(),
        count);
  }

  private static double[] toArray(List<Double> values) {
    return values.stream().mapToDouble(Double::doubleValue).toArray();
  }
}
