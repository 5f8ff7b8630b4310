package io.moe4j.autotune.search;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.Lists;
import io.moe4j.DeviceException;
import io.moe4j.DeviceMemoryException;
import io.moe4j.RoutingSkew;
import io.moe4j.autotune.profile.Candidate;
import io.moe4j.autotune.profile.ProfileInputs;
import io.moe4j.autotune.profile.TunedOperation;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.search.BucketResult.Status;
import io.moe4j.autotune.search.TacticTiming.Outcome;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/**
 * Searches the buckets of one operation, one after the other, within one budget. What is learned of
 * a tactic in a small bucket saves trying it in a larger one. Confined to one thread.
 */
public final class TacticSearch {
  private final TunedOperation operation;
  private final SearchOptions options;
  private final SearchBudget budget;
  private final long memoryBudget;
  private final TacticFilter filter;
  private final Rehearsal rehearsal;
  private final SearchListener listener;
  private final List<Standings> past = new ArrayList<>();

  /** How many times the fastest tactic's time each one took in a bucket, by name. */
  private record Standings(long tokens, Map<String, Double> slowdowns) {}

  /**
   * A search.
   *
   * @param memoryBudget most bytes of device memory for the inputs of a profile
   * @param rehearsal has every tactic's launch before it is launched here; what it throws, a search
   *     throws
   */
  public TacticSearch(
      TunedOperation operation,
      SearchOptions options,
      SearchBudget budget,
      long memoryBudget,
      TacticFilter filter,
      Rehearsal rehearsal,
      SearchListener listener) {
    this.operation = operation;
    this.options = options;
    this.budget = budget;
    this.memoryBudget = memoryBudget;
    this.filter = filter;
    this.rehearsal = rehearsal;
    this.listener = listener;
  }

  /**
   * Searches one bucket. Whatever a tactic or the memory does, the answer is a result; one that
   * breaks the device is the last.
   *
   * @param share part of the remaining budget that the bucket may spend on telling close tactics
   *     apart
   * @param limit part of it that the search may take at all; what is known then is the answer
   * @throws DeviceException if the device does not even take the inputs, as after such a tactic
   */
  public BucketResult search(long tokens, double share, double limit) {
    TuningKey key = new TuningKey(operation.family(), tokens);
    if (budget.expired()) {
      return BucketResult.skipped(key, operation.skew(), budget.reason());
    }
    Optional<String> unfit = reasonAgainstDefault(tokens);
    if (unfit.isPresent()) {
      return BucketResult.none(key, operation.skew(), Status.FAILED, unfit.get());
    }
    try {
      return race(key, share, limit, ProfileInputs.copies(operation, tokens, memoryBudget));
    } catch (DeviceMemoryException e) {
      return BucketResult.skipped(key, operation.skew(), e.getMessage());
    }
  }

  /**
   * How long the search of a bucket is going to take, in a unit of its own. A launch of more tokens
   * takes longer, by their number at most; the exponent is what whole layers were seen to have.
   */
  public double expectedCost(long tokens) {
    return ProfileInputs.copiesForCache(operation, tokens) * Math.pow((double) tokens, 2.0 / 3);
  }

  /** Races with as many copies of the inputs as the device has memory for, or half of them, ... */
  private BucketResult race(TuningKey key, double share, double limit, int copies) {
    List<Contender> contenders = contenders(key.tokens());
    try (ProfileInputs inputs = ProfileInputs.allocate(operation, key.tokens(), copies);
        Measurement measurement = new Measurement(operation, inputs)) {
      SuccessiveHalving race =
          new SuccessiveHalving(
              operation,
              key,
              contenders,
              inputs,
              measurement,
              options,
              budget,
              share,
              limit,
              rehearsal,
              listener);
      Optional<String> failure = race.run();
      remember(key.tokens(), contenders);
      return new BucketResult(
          key,
          failure.isPresent() ? Status.FAILED : race.cutShort() ? Status.CUT_SHORT : Status.TUNED,
          failure.orElse(race.cutShort() ? race.reason() : ""),
          operation.skew(),
          failure.isPresent() ? ImmutableMap.of() : race.decisions(),
          contenders.stream()
              .map(contender -> contender.timing(operation.skews()))
              .collect(ImmutableList.toImmutableList()),
          inputs.copies(),
          measurement.launches());
    } catch (DeviceMemoryException e) {
      if (copies == 1) {
        throw e;
      }
    }
    return race(key, share, limit, copies / 2);
  }

  /** Why the default cannot be run, and so nothing be compared with it. */
  private Optional<String> reasonAgainstDefault(long tokens) {
    return operation.candidates(operation.shapes(tokens)).stream()
        .findFirst()
        .map(
            first -> reasonAgainst(first).map(reason -> "the default tactic is blocked: " + reason))
        .orElse(Optional.of("no runner has a tactic for these shapes"));
  }

  /** All tactics of all runners, the default first; those not worth or fit to run are dropped. */
  private List<Contender> contenders(long tokens) {
    List<Contender> contenders = new ArrayList<>();
    for (Candidate candidate : operation.candidates(operation.shapes(tokens))) {
      Contender contender = new Contender(candidate, contenders.size(), slowdown(candidate));
      contenders.add(contender);
      if (contender.order() > 0) {
        drop(contender, tokens);
      }
    }
    return contenders;
  }

  private void drop(Contender contender, long tokens) {
    Optional<String> blocked = reasonAgainst(contender.candidate());
    if (blocked.isPresent()) {
      contender.drop(Outcome.BLOCKLISTED, blocked.get());
    } else if (hopeless(contender.candidate(), tokens)) {
      contender.drop(Outcome.HOPELESS, "too slow for fewer tokens");
    }
  }

  /** In the last bucket that timed it; what no bucket has timed may be the fastest. */
  private double slowdown(Candidate candidate) {
    return Lists.reverse(past).stream()
        .map(standings -> standings.slowdowns().get(candidate.toString()))
        .filter(Objects::nonNull)
        .findFirst()
        .orElse(1.0);
  }

  private Optional<String> reasonAgainst(Candidate candidate) {
    return filter.reasonAgainst(
        operation.family().operation(), candidate.runner().name(), candidate.tactic().name());
  }

  /**
   * Whether a tactic cannot win any more. More tokens never take it less time, and take the fastest
   * one at most proportionally more: who was four times as slow for 16 tokens is no faster for 32.
   */
  private boolean hopeless(Candidate candidate, long tokens) {
    for (Standings standings : past) {
      double slowdown = standings.slowdowns().getOrDefault(candidate.toString(), 1.0);
      if (standings.tokens() <= tokens && slowdown > 1.1 * tokens / standings.tokens()) {
        return true;
      }
    }
    return false;
  }

  private void remember(long tokens, List<Contender> contenders) {
    Map<String, Double> slowdowns = new HashMap<>();
    for (RoutingSkew skew : operation.skews().keySet()) {
      List<Contender> timed =
          contenders.stream().filter(other -> other.passes(List.of(skew)) > 0).toList();
      double fastest =
          timed.stream().mapToDouble(other -> other.median(skew)).min().orElse(Double.NaN);
      for (Contender contender : timed) {
        slowdowns.merge(
            contender.candidate().toString(), contender.median(skew) / fastest, Math::min);
      }
    }
    past.add(new Standings(tokens, slowdowns));
  }
}
