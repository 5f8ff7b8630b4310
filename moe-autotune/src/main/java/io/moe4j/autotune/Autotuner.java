package io.moe4j.autotune;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSet;
import com.google.common.collect.MapMaker;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeCall;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.RoutingSkew;
import io.moe4j.Tactic;
import io.moe4j.TacticSelector;
import io.moe4j.TensorSpec;
import io.moe4j.autotune.isolation.IsolatedProbe;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.Candidate;
import io.moe4j.autotune.profile.MoeOperation;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.profile.TunedOperation;
import io.moe4j.autotune.profile.TuningFamily;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.search.Rehearsal;
import io.moe4j.autotune.store.Blocklist;
import io.moe4j.autotune.store.ImportReport;
import io.moe4j.autotune.store.Plan;
import io.moe4j.autotune.store.TunedEntry;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.ConcurrentMap;

/**
 * Chooses tactics by measuring them where they run.
 *
 * <p>A layer that is prepared with a tuner asks it at each launch. The answer is looked up: first
 * among what this process measured, then in the cache directory, in plans that the user brought and
 * in plans in jars; where nobody knows, the back end's default runs. Only inside a {@link
 * #tuning(TuningOptions) scope}, and only for launches of that scope's thread, is anything
 * measured, on real tensors and through the launch that production uses.
 *
 * <pre>{@code
 * Autotuner tuner = Autotuner.create(TunerOptions.builder().cacheDirectory(folder).build());
 * MoeLayer layer = device.prepare(spec, weights, tuner);
 * try (TuningScope scope = tuner.tuning(TuningOptions.DEFAULT)) {
 *   layer.run(call, workspace); // measures what is not known yet
 * }
 * layer.run(call, workspace); // runs the best
 * }</pre>
 *
 * <p>Safe from any thread, and beside any other process that uses the same cache directory: nothing
 * waits for another process.
 */
public final class Autotuner implements TacticSelector.Source {
  private static final System.Logger LOG = System.getLogger(Autotuner.class.getName());

  private final TunerOptions options;
  private final TuningScopes scopes;
  private final StatisticsCollector statistics = new StatisticsCollector();

  /** By identity, and for no longer than the device is used. */
  private final ConcurrentMap<MoeDevice, DeviceTunings> devices =
      new MapMaker().weakKeys().makeMap();

  private Autotuner(TunerOptions options) {
    this.options = options;
    this.scopes = new TuningScopes(options.ticker());
  }

  /** A tuner. */
  public static Autotuner create(TunerOptions options) {
    return new Autotuner(options);
  }

  /**
   * The selector of a layer; {@link MoeDevice#prepare} asks for it. What is stored about the device
   * is read now, and not within its first launch.
   */
  @Override
  public TacticSelector bind(MoeLayer layer) {
    return new LayerTactics(this, layer, device(layer.device()).selections(layer));
  }

  // ---- tuning

  /**
   * Opens a scope in this thread, to be closed by it. The first launch of each kind in a scope that
   * profiles measures all its buckets before it runs; do not record a graph meanwhile.
   */
  public TuningScope tuning(TuningOptions tuningOptions) {
    return scopes.enter(tuningOptions);
  }

  /** Whether any thread is in a scope that profiles. */
  public boolean isTuning() {
    return scopes.profiling();
  }

  /** Tunes a layer's calls of one kind, in all buckets that are not settled, and reports. */
  public TuningReport tune(MoeLayer layer, CallKind kind, TuningOptions tuningOptions) {
    try (TuningScope scope = tuning(tuningOptions)) {
      return sweep(
          scope, operation(layer, kind, scope.buckets(options.buckets())), probe(layer, kind));
    }
  }

  /** Tunes an operation, in all buckets that are not settled, and reports. */
  public TuningReport tune(TunedOperation operation, TuningOptions tuningOptions) {
    try (TuningScope scope = tuning(tuningOptions)) {
      return sweep(scope, inScope(scope, operation), Optional.empty());
    }
  }

  private TuningReport sweep(
      TuningScope scope, TunedOperation operation, Optional<IsolatedProbe> probe) {
    DeviceTunings device = device(operation.device());
    try {
      Rehearsal rehearsal = probe.<Rehearsal>map(isolated -> isolated).orElse(Rehearsal.NONE);
      return new Sweep(device, options, scope, statistics, rehearsal).run(operation);
    } finally {
      probe.ifPresent(IsolatedProbe::close);
      forgetSelections();
    }
  }

  private Optional<IsolatedProbe> probe(MoeLayer layer, CallKind kind) {
    return options.isolation().map(isolation -> new IsolatedProbe(layer, kind, isolation));
  }

  // ---- choosing

  /**
   * The runner and tactic for an operation's inputs as they are. In a scope that profiles, what is
   * not known is measured first.
   */
  public Selection choose(TunedOperation operation) {
    TuningScope scope = scopes.current();
    return scope == null
        ? counted(operation, operation.tokens())
        : chooseInScope(scope, operation, operation.tokens(), Optional.empty());
  }

  /**
   * The best tactics for an operation's inputs as they are, best first: the chosen one and, in a
   * scope that profiles, those that came next.
   *
   * @param count most tactics to return
   */
  public ImmutableList<Candidate> rank(TunedOperation operation, int count) {
    if (count < 1) {
      throw new InvalidArgumentException("count", count, "at least 1");
    }
    Selection chosen = choose(operation);
    TuningScope scope = scopes.current();
    if (count == 1 || scope == null || !profilesHere(scope, operation)) {
      return ImmutableList.of(chosen.candidate());
    }
    TunedOperation variant = inScope(scope, operation).variant();
    DeviceTunings device = device(operation.device());
    long bucket = variant.buckets().bucketOf(operation.tokens());
    TuningKey key = new TuningKey(variant.family(), bucket);
    if (device.timings(key).isEmpty()) {
      // A stored tuning knows its winner alone.
      new Sweep(device, options, scope, statistics, Rehearsal.NONE).runBucket(variant, bucket);
      forgetSelections();
    }
    return Ranking.of(variant, bucket, chosen.candidate(), device.timings(key), count);
  }

  /** Hot path's slow side: the tactic for a shape that was not asked for since the last tuning. */
  Selection select(MoeLayer layer, CallKind kind, long tokens) {
    return resolve(operation(layer, kind, options.buckets()), tokens);
  }

  Tactic selectInScope(TuningScope scope, MoeLayer layer, CallKind kind, long tokens) {
    TunedOperation operation = operation(layer, kind, options.buckets());
    return chooseInScope(scope, operation, tokens, probe(layer, kind)).candidate().tactic();
  }

  private Selection chooseInScope(
      TuningScope scope, TunedOperation operation, long tokens, Optional<IsolatedProbe> probe) {
    if (scope.skips(operation.family().operation())) {
      return defaultSelection(operation.variant(), tokens);
    }
    if (profilesHere(scope, operation) && scope.attend(operation.family())) {
      sweep(scope, inScope(scope, operation), probe);
    }
    return counted(operation, tokens);
  }

  private Selection counted(TunedOperation operation, long tokens) {
    Selection selection = resolve(operation.variant(), tokens);
    if (!selection.covered()) {
      statistics.miss();
      if (options.strict()) {
        throw uncovered(operation.family(), tokens);
      }
    }
    return selection;
  }

  /** An operation that a runner calls while it is measured is not measured itself. */
  private boolean profilesHere(TuningScope scope, TunedOperation operation) {
    return scope.profiles()
        && !scope.skips(operation.family().operation())
        && !device(operation.device()).measuring().isHeldByCurrentThread();
  }

  private TunedOperation inScope(TuningScope scope, TunedOperation operation) {
    return operation.withBuckets(scope.buckets(operation.buckets()));
  }

  private TunedOperation operation(MoeLayer layer, CallKind kind, TokenBuckets buckets) {
    return MoeOperation.of(layer, kind, buckets, options.blend());
  }

  /** Looks a variant's shape up, and tells of the first one of a bucket that is not covered. */
  private Selection resolve(TunedOperation variant, long tokens) {
    Selection selection = lookUp(variant, tokens);
    if (!selection.covered()) {
      long bucket = variant.buckets().bucketOf(tokens);
      if (statistics.uncovered(new TuningKey(variant.family(), bucket))) {
        tellUncovered(variant, tokens, selection);
      }
    }
    return selection;
  }

  private Selection lookUp(TunedOperation variant, long tokens) {
    DeviceTunings device = device(variant.device());
    ImmutableList<Candidate> candidates = variant.candidates(variant.shapes(tokens));
    TuningFamily blend = variant.family().withSkew(RoutingSkew.UNKNOWN);
    ImmutableList<TuningFamily> families = ImmutableSet.of(variant.family(), blend).asList();
    for (Tunings.Found found : device.tunings().find(families, tokens)) {
      Optional<Candidate> candidate = candidate(device, candidates, found.entry());
      if (candidate.isPresent()) {
        return new Selection(
            candidate.get(),
            found.source(),
            OptionalLong.of(found.entry().key().tokens()),
            found.covered());
      }
    }
    return defaultSelection(variant, tokens);
  }

  /** What a stored tuning names, if it is there and may be run; the default always may. */
  private Optional<Candidate> candidate(
      DeviceTunings device, ImmutableList<Candidate> candidates, TunedEntry entry) {
    Optional<Candidate> named =
        candidates.stream()
            .filter(candidate -> candidate.isNamed(entry.runner(), entry.tactic()))
            .findFirst();
    Optional<String> blocked =
        named.equals(candidates.stream().findFirst())
            ? Optional.empty()
            : device
                .blocklist()
                .reasonAgainst(entry.key().family().operation(), entry.runner(), entry.tactic());
    if (named.isPresent() && blocked.isEmpty()) {
      return named;
    }
    tellTrouble(
        entry.tactic()
            + ", stored for "
            + entry.key()
            + ", is not used: "
            + blocked.orElse("no runner offers it for this shape"));
    return Optional.empty();
  }

  private static Selection defaultSelection(TunedOperation variant, long tokens) {
    ImmutableList<Optional<TensorSpec>> shapes = variant.shapes(tokens);
    return new Selection(
        variant.defaultCandidate(shapes), TuningSource.DEFAULT, OptionalLong.empty(), false);
  }

  private void tellUncovered(TunedOperation variant, long tokens, Selection selection) {
    TunerEvents.INSTANCE.shapeUncovered(variant.family() + "@" + tokens, selection);
    boolean tuned = device(variant.device()).tunings().knows(variant.family().operation());
    LOG.log(
        tuned ? System.Logger.Level.WARNING : System.Logger.Level.DEBUG,
        "no tuning covers {0} tokens of {1}; {2} runs instead, which may be slow",
        Long.toString(tokens),
        variant.family(),
        selection.candidate());
  }

  private void tellTrouble(String what) {
    if (statistics.problem(what)) {
      LOG.log(System.Logger.Level.WARNING, what);
    }
  }

  /** Counts a launch that no tuning covers; refuses it in strict mode. */
  void countMiss(MoeLayer layer, MoeCall call) {
    statistics.miss();
    if (options.strict()) {
      throw uncovered(TuningFamily.of(layer, CallKind.of(call)), call.tokens());
    }
  }

  private static UncoveredShapeException uncovered(TuningFamily family, long tokens) {
    return new UncoveredShapeException(
        "no tuning covers " + tokens + " tokens of " + family + ", and the tuner is strict");
  }

  // ---- what is known

  /** What launches of a layer with these token counts would get. Counts no misses. */
  public Coverage coverage(MoeLayer layer, CallKind kind, long... tokenCounts) {
    TunedOperation operation = operation(layer, kind, options.buckets());
    ImmutableList.Builder<Coverage.Shape> shapes = ImmutableList.builder();
    for (long tokens : tokenCounts) {
      shapes.add(new Coverage.Shape(tokens, lookUp(operation, tokens)));
    }
    return new Coverage(shapes.build());
  }

  /** Adds a plan's tunings of a device; says which do not apply to it, and why. */
  public ImportReport importPlan(Plan plan, MoeDevice device) {
    try {
      return device(device).importPlan(plan, device);
    } finally {
      forgetSelections();
    }
  }

  /** All tunings of a device that are known here. */
  public Plan exportPlan(MoeDevice device) {
    return device(device).plan();
  }

  /** Tactics that are not run on a device; what is added applies from now on. */
  public Blocklist blocklist(MoeDevice device) {
    return device(device).blocklist();
  }

  /** What was done so far. */
  public TunerStatistics statistics() {
    return statistics.snapshot();
  }

  /** Starts the statistics anew. */
  public void resetStatistics() {
    statistics.reset();
  }

  /** Forgets all tunings of this process; the cache directory keeps its own. */
  public void clear() {
    devices.values().forEach(DeviceTunings::clear);
    forgetSelections();
  }

  TuningScopes scopes() {
    return scopes;
  }

  private DeviceTunings device(MoeDevice device) {
    return devices.computeIfAbsent(
        device, opened -> new DeviceTunings(opened, options, this::tellTrouble));
  }

  private void forgetSelections() {
    devices.values().forEach(DeviceTunings::forgetSelections);
  }
}
