package io.moe4j.autotune;

import com.google.common.base.Ticker;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.Maps;
import io.moe4j.InvalidArgumentException;
import io.moe4j.RoutingSkew;
import io.moe4j.autotune.isolation.IsolationOptions;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.search.SearchOptions;
import io.moe4j.autotune.store.Plan;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/**
 * How an {@link Autotuner} works. Immutable; made by {@link #builder}.
 *
 * @param cacheDirectory where finished tunings are kept; they last as long as the process without
 * @param plans tunings that users brought, the first one has the last word
 * @param bundledPlans whether plans in jars on the class path are used
 * @param blocklists files of tactics that must not be run
 * @param buckets token counts that are profiled unless a scope says otherwise
 * @param blend distributions of routing that a call of unknown skew is tuned for: the chosen tactic
 *     has the least mean of its times relative to the default's, so weighted
 * @param search how hard to look
 * @param memoryBudget most device memory for the inputs of one profile; 0 for an eighth of it all
 * @param isolation whether and how tactics are first tried in another process
 * @param strict whether a launch of an uncovered shape is refused instead of run with the default
 * @param ticker the clock of time budgets
 */
public record TunerOptions(
    Optional<Path> cacheDirectory,
    ImmutableList<Plan> plans,
    boolean bundledPlans,
    ImmutableList<Path> blocklists,
    TokenBuckets buckets,
    ImmutableMap<RoutingSkew, Double> blend,
    SearchOptions search,
    long memoryBudget,
    Optional<IsolationOptions> isolation,
    boolean strict,
    Ticker ticker) {

  /** Largest token count that is profiled by default. */
  public static final long TUNE_MAX_NUM_TOKENS = 8192;

  /** Mostly uniform or mildly skewed traffic, with a thought for its extremes. */
  public static final ImmutableMap<RoutingSkew, Double> BLEND =
      ImmutableMap.of(
          RoutingSkew.UNIFORM, 0.4,
          RoutingSkew.ZIPF, 0.4,
          RoutingSkew.HOT, 0.1,
          RoutingSkew.BALANCED, 0.1);

  /** No cache, bundled plans, powers of two up to {@link #TUNE_MAX_NUM_TOKENS}. */
  public static final TunerOptions DEFAULT = builder().build();

  /** Refuses a negative memory budget and blends of nothing, of UNKNOWN, or without weight. */
  public TunerOptions {
    if (memoryBudget < 0) {
      throw new InvalidArgumentException("memoryBudget", memoryBudget, "at least 0");
    }
    boolean weighted = blend.values().stream().allMatch(weight -> weight > 0);
    if (blend.isEmpty() || blend.containsKey(RoutingSkew.UNKNOWN) || !weighted) {
      throw new InvalidArgumentException(
          "blend", blend, "known distributions with positive weights");
    }
  }

  /** Starts options that are the default but for what is set. */
  public static Builder builder() {
    return new Builder();
  }

  /** Collects {@link TunerOptions}. Not thread safe. */
  public static final class Builder {
    private Optional<Path> cacheDirectory = Optional.empty();
    private final ImmutableList.Builder<Plan> plans = ImmutableList.builder();
    private boolean bundledPlans = true;
    private final ImmutableList.Builder<Path> blocklists = ImmutableList.builder();
    private TokenBuckets buckets = TokenBuckets.powersOfTwo(TUNE_MAX_NUM_TOKENS);
    private ImmutableMap<RoutingSkew, Double> blend = BLEND;
    private SearchOptions search = SearchOptions.DEFAULT;
    private long memoryBudget;
    private Optional<IsolationOptions> isolation = Optional.empty();
    private boolean strict;
    private Ticker ticker = Ticker.systemTicker();

    private Builder() {}

    /** Keeps finished tunings in a folder, which the first one creates. */
    public Builder cacheDirectory(Path directory) {
      this.cacheDirectory = Optional.of(directory);
      return this;
    }

    /** Adds a plan; those added before have precedence. */
    public Builder plan(Plan plan) {
      plans.add(plan);
      return this;
    }

    /** Uses the plans in jars, or not. */
    public Builder bundledPlans(boolean bundled) {
      this.bundledPlans = bundled;
      return this;
    }

    /** Adds a blocklist's file. */
    public Builder blocklist(Path file) {
      blocklists.add(file);
      return this;
    }

    /** Profiles these token counts. */
    public Builder buckets(TokenBuckets buckets) {
      this.buckets = buckets;
      return this;
    }

    /** Blends these distributions for calls of unknown skew. */
    public Builder blend(Map<RoutingSkew, Double> blend) {
      this.blend = Maps.immutableEnumMap(blend);
      return this;
    }

    /** Searches as hard as this. */
    public Builder search(SearchOptions search) {
      this.search = search;
      return this;
    }

    /** Bounds the device memory of a profile's inputs. */
    public Builder memoryBudget(long bytes) {
      this.memoryBudget = bytes;
      return this;
    }

    /** Tries each tactic in another process first. */
    public Builder isolation(IsolationOptions isolation) {
      this.isolation = Optional.of(isolation);
      return this;
    }

    /** Refuses launches of uncovered shapes. */
    public Builder strict(boolean strict) {
      this.strict = strict;
      return this;
    }

    /** Measures time budgets with another clock. */
    public Builder ticker(Ticker ticker) {
      this.ticker = ticker;
      return this;
    }

    /** The options. */
    public TunerOptions build() {
      return new TunerOptions(
          cacheDirectory,
          plans.build(),
          bundledPlans,
          blocklists.build(),
          buckets,
          blend,
          search,
          memoryBudget,
          isolation,
          strict,
          ticker);
    }
  }
}
