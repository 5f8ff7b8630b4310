package io.moe4j.autotune.search;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Maps;
import io.moe4j.DeviceException;
import io.moe4j.DeviceMemoryException;
import io.moe4j.RoutingSkew;
import io.moe4j.autotune.profile.Candidate;
import io.moe4j.autotune.profile.ProfileInputs;
import io.moe4j.autotune.profile.TunedOperation;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.search.TacticTiming.Outcome;
import java.time.Duration;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * One bucket's race. Every tactic is timed once; round after round the slower ones leave and the
 * others are timed again, taking turns, and of the last few those that are surely beaten rest, so
 * that most of the time goes into what is hard to tell apart. The default takes part to the end.
 * Confined to one thread.
 */
final class SuccessiveHalving {
  private static final int PASSES_PER_ROUND = 2;

  private final TunedOperation operation;
  private final TuningKey key;
  private final Contender reference;
  private final List<Contender> challengers;
  private final int copies;
  private final Measurement measurement;
  private final CorrectnessGate gate;
  private final DecisionRule rule;
  private final SearchOptions options;
  private final SearchBudget budget;
  private final Duration enoughSpent;
  private final Duration mostSpent;
  private final Rehearsal rehearsal;
  private final SearchListener listener;
  private final ImmutableSet<RoutingSkew> skews;
  private final ImmutableMap<RoutingSkew, Double> blend;
  private boolean cutShort;

  /**
   * A race.
   *
   * @param share part of the budget's remaining time after which close decisions are left at what
   *     they are
   * @param limit part of it after which the race ends wherever it is
   */
  SuccessiveHalving(
      TunedOperation operation,
      TuningKey key,
      List<Contender> contenders,
      ProfileInputs inputs,
      Measurement measurement,
      SearchOptions options,
      SearchBudget budget,
      double share,
      double limit,
      Rehearsal rehearsal,
      SearchListener listener) {
    this.operation = operation;
    this.key = key;
    this.reference = contenders.get(0);
    this.challengers = contenders.subList(1, contenders.size());
    this.copies = inputs.copies();
    this.measurement = measurement;
    this.gate = new CorrectnessGate(operation, inputs);
    this.rule = new DecisionRule(options);
    this.options = options;
    this.budget = budget;
    this.enoughSpent = budget.spent().plus(budget.remaining(share));
    this.mostSpent = budget.spent().plus(budget.remaining(limit));
    this.rehearsal = rehearsal;
    this.listener = listener;
    this.blend = operation.skews();
    this.skews = blend.keySet();
  }

  /**
   * Runs the race; why it failed, if it did.
   *
   * @throws DeviceMemoryException if the device has no room for what is prepared on the way
   */
  Optional<String> run() {
    try {
      Optional<String> unusable = openWithReference();
      if (unusable.isPresent()) {
        return unusable;
      }
      timeEachOnce();
      while (running().count() > options.finalists() && !outOfTime()) {
        eliminate();
        pass(PASSES_PER_ROUND);
      }
      timeFinalists();
      return Optional.empty();
    } catch (ReferenceFailedException e) {
      return Optional.of("the default tactic failed: " + e.getCause().getMessage());
    } catch (DeviceException e) {
      return Optional.of("the device failed: " + e.getMessage());
    }
  }

  /**
   * Whether the time ended before each tactic had its turn, or the finalists the passes that a
   * decision takes.
   */
  boolean cutShort() {
    return cutShort;
  }

  /**
   * The choice for what the family names and, among those that came so far, for each profiled
   * distribution by itself.
   */
  ImmutableMap<RoutingSkew, Decision> decisions() {
    Map<RoutingSkew, Decision> decisions = new EnumMap<>(RoutingSkew.class);
    skews.forEach(skew -> decisions.put(skew, decide(ImmutableMap.of(skew, 1.0))));
    decisions.put(operation.skew(), decide(blend));
    return Maps.immutableEnumMap(decisions);
  }

  private Decision decide(ImmutableMap<RoutingSkew, Double> weights) {
    DecisionRule.Verdict verdict = rule.judge(relativeTimes(weights));
    double defaultNanos = reference.nanos(weights);
    if (verdict.winner().isEmpty()) {
      double noise = reference.relativeTo(reference, weights).noise();
      return new Decision(
          reference.candidate(), defaultNanos, defaultNanos, noise, "default: " + verdict.reason());
    }
    RelativeTime winner = verdict.winner().get();
    return new Decision(
        winner.candidate(),
        winner.ratio() * defaultNanos,
        defaultNanos,
        winner.noise(),
        verdict.reason());
  }

  private List<RelativeTime> relativeTimes(ImmutableMap<RoutingSkew, Double> weights) {
    return running()
        .filter(challenger -> challenger.passes(weights.keySet()) > 0)
        .map(challenger -> challenger.relativeTo(reference, weights))
        .toList();
  }

  private Stream<Contender> running() {
    return challengers.stream().filter(Contender::running);
  }

  private Stream<Contender> takingTurns() {
    return challengers.stream().filter(Contender::takesTurns);
  }

  private Contender challenger(RelativeTime time) {
    return challengers.get(time.order() - 1);
  }

  private boolean outOfTime() {
    return budget.expired() || budget.spent().compareTo(mostSpent) >= 0;
  }

  /** Why the race ended before its time, in words. */
  String reason() {
    return budget.expired() ? budget.reason() : "its share of the time budget is spent";
  }

  private Optional<String> openWithReference() {
    Optional<String> end = rehearse(reference);
    if (end.isPresent()) {
      reference.drop(Outcome.CRASHED, end.get());
      return end.map(cause -> "the default tactic ends its process: " + cause);
    }
    for (RoutingSkew skew : skews) {
      sampleReference(skew, true);
      Optional<String> unusable = gate.acceptReference(skew);
      if (unusable.isPresent()) {
        return unusable;
      }
    }
    return Optional.empty();
  }

  /** Those that are expected to be fast go first: against them the slow ones leave early. */
  private void timeEachOnce() {
    List<Contender> field =
        running().sorted(Comparator.comparingDouble(Contender::expectedSlowdown)).toList();
    for (int i = 0; i < field.size(); i++) {
      if (outOfTime()) {
        cutShort = true;
        field.get(i).drop(Outcome.ELIMINATED, reason());
      } else {
        firstPass(field.get(i));
        report((i + 1.0) / field.size());
      }
    }
  }

  private Optional<String> rehearse(Contender contender) {
    return rehearsal.reasonAgainst(contender.candidate(), key.tokens());
  }

  private void firstPass(Contender challenger) {
    Optional<String> end = rehearse(challenger);
    if (end.isPresent()) {
      drop(challenger, Outcome.CRASHED, end.get());
      return;
    }
    try {
      for (RoutingSkew skew : skews) {
        double fastest = fastest(skew);
        sample(challenger, skew, true);
        Optional<String> disagreement = gate.disagreement(skew);
        if (disagreement.isPresent()) {
          drop(challenger, Outcome.REJECTED, disagreement.get());
          return;
        }
        if (tooSlow(challenger, skew, options.abandonFactor() * fastest)) {
          String text = "takes more than " + options.abandonFactor() + " times the fastest's time";
          drop(challenger, Outcome.ELIMINATED, text);
          return;
        }
      }
    } catch (RuntimeException e) {
      drop(challenger, e);
    }
  }

  /** A single sample may have been disturbed, though hardly a long one by so much. */
  private boolean tooSlow(Contender challenger, RoutingSkew skew, double limit) {
    double nanos = challenger.median(skew);
    boolean farBehind = measurement.isLong(nanos) && nanos > options.abandonFactor() * limit;
    return nanos > limit && (farBehind || measurement.sample(challenger.candidate(), skew) > limit);
  }

  private double fastest(RoutingSkew skew) {
    return Stream.concat(Stream.of(reference), running())
        .filter(contender -> contender.passes(List.of(skew)) > 0)
        .mapToDouble(contender -> contender.median(skew))
        .min()
        .orElseThrow();
  }

  /** Sends the slower ones home. */
  private void eliminate() {
    long field = running().count();
    long keep =
        Math.max(options.finalists(), (field + options.keepOneIn() - 1) / options.keepOneIn());
    relativeTimes(blend).stream()
        .sorted(Comparator.comparingDouble(RelativeTime::ratio))
        .skip(keep)
        .forEach(
            slow -> drop(challenger(slow), Outcome.ELIMINATED, "slower than those that went on"));
  }

  private void timeFinalists() {
    restBeaten();
    while (!decided()) {
      if (outOfTime()) {
        cutShort |= reference.passes(skews) < options.minPasses();
        return;
      }
      pass(1);
      restBeaten();
    }
  }

  /** Not before the least passes: the noise of fewer looks smaller than it is. */
  private void restBeaten() {
    if (reference.passes(skews) >= options.minPasses()) {
      List<RelativeTime> times = relativeTimes(blend);
      times.stream()
          .filter(time -> rule.beaten(time, times))
          .forEach(time -> challenger(time).rest());
    }
  }

  /** Whether more passes could change nothing, or are not worth their time. */
  private boolean decided() {
    int passes = reference.passes(skews);
    if (takingTurns().findAny().isEmpty() || passes >= options.maxPasses()) {
      return true;
    }
    boolean open =
        relativeTimes(blend).stream()
            .anyMatch(time -> challenger(time).takesTurns() && rule.open(time));
    return passes >= options.minPasses() && (!open || budget.spent().compareTo(enoughSpent) >= 0);
  }

  /** Samples everyone; what is compared is sampled close together, and who begins changes. */
  private void pass(int count) {
    for (int i = 0; i < count; i++) {
      List<Contender> field = Stream.concat(Stream.of(reference), takingTurns()).toList();
      int first = reference.passes(skews) % field.size();
      for (RoutingSkew skew : skews) {
        for (int turn = 0; turn < field.size() && !outOfTime(); turn++) {
          sampleOrDrop(field.get((first + turn) % field.size()), skew);
        }
      }
      report(1.0);
    }
  }

  private void sampleOrDrop(Contender contender, RoutingSkew skew) {
    if (contender == reference) {
      sampleReference(skew, false);
    } else if (contender.running()) {
      try {
        sample(contender, skew, false);
      } catch (RuntimeException e) {
        drop(contender, e);
      }
    }
  }

  private void sampleReference(RoutingSkew skew, boolean first) {
    try {
      sample(reference, skew, first);
    } catch (DeviceMemoryException e) {
      throw e;
    } catch (RuntimeException e) {
      throw new ReferenceFailedException(e);
    }
  }

  private void sample(Contender contender, RoutingSkew skew, boolean first) {
    Candidate candidate = contender.candidate();
    if (!first) {
      contender.add(skew, measurement.sample(candidate, skew));
      return;
    }
    gate.poison(skew);
    boolean cold = skew == skews.iterator().next();
    contender.add(
        skew,
        cold ? measurement.firstSample(candidate, skew) : measurement.sample(candidate, skew));
  }

  /**
   * Fewer copies of the inputs may leave room for a challenger that found none. One that broke the
   * device ends the race: what the others would find then is no fault of theirs.
   */
  private void drop(Contender challenger, RuntimeException failure) {
    if (failure instanceof DeviceMemoryException lacking && copies > 1) {
      throw lacking;
    }
    boolean faulted = failure instanceof DeviceException;
    drop(
        challenger,
        faulted ? Outcome.FAULTED : Outcome.FAILED,
        String.valueOf(failure.getMessage()));
    if (faulted) {
      measurement.checkDevice();
    }
  }

  private void drop(Contender challenger, Outcome outcome, String detail) {
    challenger.drop(outcome, detail);
    measurement.forget(challenger.candidate());
  }

  private void report(double progress) {
    RelativeTime best =
        relativeTimes(blend).stream()
            .min(Comparator.comparingDouble(RelativeTime::ratio))
            .filter(time -> time.ratio() < 1)
            .orElseGet(() -> reference.relativeTo(reference, blend));
    listener.tacticMeasured(
        key, progress, best.candidate().tactic().name(), 1 / best.ratio(), budget.remaining());
  }

  /** Ends the race: without the default's time nothing can be compared. */
  private static final class ReferenceFailedException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    ReferenceFailedException(RuntimeException cause) {
      super(cause);
    }
  }
}
