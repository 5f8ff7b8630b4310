package io.moe4j.autotune;

import com.google.common.collect.ImmutableList;
import io.moe4j.autotune.profile.Candidate;
import io.moe4j.autotune.profile.TunedOperation;
import io.moe4j.autotune.search.TacticTiming;
import java.util.Comparator;
import java.util.Optional;
import java.util.stream.Stream;

/** The tactics of a searched bucket, best first. */
final class Ranking {
  private Ranking() {}

  /** The chosen one, then the others by their times, however often they were timed. */
  static ImmutableList<Candidate> of(
      TunedOperation operation,
      long tokens,
      Candidate chosen,
      ImmutableList<TacticTiming> timings,
      int count) {
    ImmutableList<Candidate> candidates = operation.candidates(operation.shapes(tokens));
    Stream<Candidate> others =
        timings.stream()
            .filter(timing -> timing.nanos().isPresent() && !timing.outcome().isFailure())
            .sorted(Comparator.comparingDouble(timing -> timing.nanos().getAsDouble()))
            .flatMap(timing -> candidate(candidates, timing).stream());
    return Stream.concat(Stream.of(chosen), others)
        .distinct()
        .limit(count)
        .collect(ImmutableList.toImmutableList());
  }

  private static Optional<Candidate> candidate(
      ImmutableList<Candidate> candidates, TacticTiming timing) {
    return candidates.stream()
        .filter(candidate -> candidate.isNamed(timing.runner(), timing.tactic()))
        .findFirst();
  }
}
