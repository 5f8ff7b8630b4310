package io.moe4j.autotune;

import com.google.common.collect.ImmutableList;
import io.moe4j.RoutingSkew;
import io.moe4j.autotune.profile.Candidate;
import io.moe4j.autotune.profile.TunedOperation;
import io.moe4j.autotune.search.BucketResult;
import io.moe4j.autotune.search.TacticTiming;
import io.moe4j.autotune.search.TacticTiming.Outcome;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** The tactics of a searched bucket, best first. */
final class Ranking {
  private Ranking() {}

  /** The chosen one, then the finalists, then those that left earlier, each by their times. */
  static ImmutableList<Candidate> of(
      TunedOperation operation, long tokens, BucketResult result, int count) {
    ImmutableList<Candidate> candidates = operation.candidates(operation.shapes(tokens));
    Set<Candidate> ranked = new LinkedHashSet<>();
    result.decision().ifPresent(decision -> ranked.add(decision.candidate()));
    result.timings().stream()
        .filter(timing -> timing.medianNanos().keySet().containsAll(operation.skews().keySet()))
        .filter(
            timing ->
                timing.outcome() == Outcome.MEASURED || timing.outcome() == Outcome.ELIMINATED)
        .sorted(
            Comparator.comparing(TacticTiming::outcome)
                .thenComparingDouble(timing -> nanos(operation, timing)))
        .flatMap(timing -> candidate(candidates, timing).stream())
        .forEach(ranked::add);
    if (ranked.isEmpty()) {
      ranked.add(candidates.get(0));
    }
    return ranked.stream().limit(count).collect(ImmutableList.toImmutableList());
  }

  private static double nanos(TunedOperation operation, TacticTiming timing) {
    double sum = 0;
    for (Map.Entry<RoutingSkew, Double> part : operation.skews().entrySet()) {
      sum += part.getValue() * timing.medianNanos().get(part.getKey());
    }
    return sum;
  }

  private static Optional<Candidate> candidate(
      ImmutableList<Candidate> candidates, TacticTiming timing) {
    return candidates.stream()
        .filter(candidate -> candidate.isNamed(timing.runner(), timing.tactic()))
        .findFirst();
  }
}
