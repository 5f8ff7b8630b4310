package io.moe4j.autotune;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.MapMaker;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeSpec;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.search.BucketResult;
import io.moe4j.autotune.search.TacticTiming;
import io.moe4j.autotune.store.BlockedTactic;
import io.moe4j.autotune.store.Blocklist;
import io.moe4j.autotune.store.BundledPlans;
import io.moe4j.autotune.store.Environment;
import io.moe4j.autotune.store.ImportReport;
import io.moe4j.autotune.store.Plan;
import io.moe4j.autotune.store.StoreException;
import io.moe4j.autotune.store.TacticCacheV1;
import io.moe4j.autotune.store.TunedEntry;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;

/**
 * What is known about one opened device: its tunings from all sources, its blocklist, its cache and
 * what launches of its layers have looked up there. Trouble with files is told and survived. Safe
 * from any thread. Does not keep the device.
 */
final class DeviceTunings {
  private static final String NOT_KEPT = "tunings last as long as this process";

  private final Environment environment;
  private final Tunings tunings = new Tunings();
  private final Blocklist blocklist = new Blocklist(this::forgetSelections);
  private final Map<TuningKey, ImmutableList<TacticTiming>> timings = new ConcurrentHashMap<>();

  /** For no longer than one of the layers is used. */
  private final ConcurrentMap<LayerKey, LayerSelections> selections =
      new MapMaker().weakValues().makeMap();

  /** Empty too where the folder cannot be read: neither are its files, then, nor written. */
  private final Optional<TacticCacheV1> cache;

  private final Consumer<String> trouble;
  private final AtomicBoolean writeFailed = new AtomicBoolean();

  /** Held while the device is measured: two measurements at once would measure each other. */
  private final ReentrantLock measuring = new ReentrantLock();

  private record LayerKey(MoeSpec spec, boolean hasBias) {}

  DeviceTunings(MoeDevice device, TunerOptions options, Consumer<String> trouble) {
    this.environment = Environment.of(device);
    this.trouble = trouble;
    this.cache =
        options
            .cacheDirectory()
            .map(root -> TacticCacheV1.below(root, environment))
            .filter(this::load);
    options.blocklists().forEach(this::loadBlocklist);
    // A plan that was named first has the last word.
    options.plans().reverse().forEach(plan -> importPlan(plan, device));
    if (options.bundledPlans()) {
      for (Plan plan : BundledPlans.load(trouble)) {
        ImportReport.of(plan, device)
            .applied()
            .forEach(entry -> tunings.put(TuningSource.BUNDLED, entry));
      }
    }
  }

  private boolean load(TacticCacheV1 files) {
    try {
      files.load().forEach(entry -> tunings.put(TuningSource.CACHED, entry));
      files.loadBlocked().forEach(blocklist::add);
      return true;
    } catch (StoreException e) {
      trouble.accept(e.getMessage() + "; " + NOT_KEPT);
      return false;
    } finally {
      files.takeDamage().forEach(trouble);
    }
  }

  private void loadBlocklist(Path file) {
    try {
      blocklist
          .load(file, environment)
          .forEach(mismatch -> trouble.accept("blocklist " + file + " is not used: " + mismatch));
    } catch (StoreException e) {
      trouble.accept(e.getMessage());
    }
  }

  ImportReport importPlan(Plan plan, MoeDevice device) {
    ImportReport report = ImportReport.of(plan, device);
    report.applied().forEach(entry -> tunings.put(TuningSource.PLAN, entry));
    report.rejected().stream()
        .map(rejection -> "a plan's tunings are not used: " + rejection.reason())
        .distinct()
        .forEach(trouble);
    return report;
  }

  Environment environment() {
    return environment;
  }

  Tunings tunings() {
    return tunings;
  }

  Blocklist blocklist() {
    return blocklist;
  }

  /** What is remembered for a layer's launches, and for those of its equals. */
  LayerSelections selections(MoeLayer layer) {
    return selections.computeIfAbsent(
        new LayerKey(layer.spec(), layer.hasBias()), unused -> new LayerSelections());
  }

  /** What was looked up before a tuning was added or a tactic blocked has to be looked up again. */
  void forgetSelections() {
    selections.values().forEach(LayerSelections::forget);
  }

  ReentrantLock measuring() {
    return measuring;
  }

  Plan plan() {
    return Plan.of(environment, tunings.all());
  }

  /**
   * The tuning of a bucket that was measured, cached, perhaps by another process just now, or
   * planned. What comes with a jar does not keep anybody from measuring.
   */
  Optional<TunedEntry> known(TuningKey key) {
    Optional<TunedEntry> here =
        tunings
            .get(key)
            .filter(found -> found.source() != TuningSource.BUNDLED)
            .map(Tunings.Found::entry);
    if (here.filter(TunedEntry::complete).isPresent()) {
      return here;
    }
    Optional<TunedEntry> stored =
        cache.flatMap(files -> files.get(key)).filter(TunedEntry::complete);
    stored.ifPresent(entry -> tunings.put(TuningSource.CACHED, entry));
    return stored.or(() -> here);
  }

  /** Keeps a tuning, here and on the disk, unless what is known there is better. */
  void keep(TunedEntry entry) {
    if (entry.improves(known(entry.key()))) {
      tunings.put(TuningSource.MEASURED, entry);
    }
    if (cache.isPresent() && entry.improves(cache.get().get(entry.key()))) {
      writing(() -> cache.get().put(entry));
    }
  }

  /** Keeps a tactic from being run again. */
  void block(BlockedTactic tactic) {
    if (blocklist.add(tactic) && cache.isPresent()) {
      writing(() -> cache.get().block(tactic));
    }
  }

  private void writing(Runnable write) {
    try {
      write.run();
    } catch (StoreException e) {
      // A full disk fails every write; it is told once.
      if (writeFailed.compareAndSet(false, true)) {
        trouble.accept(e.getMessage() + "; " + NOT_KEPT);
      }
    }
    cache.orElseThrow().takeDamage().forEach(trouble);
  }

  /** Tells of trouble. */
  void tell(String what) {
    trouble.accept(what);
  }

  /** Remembers a search, for rankings: names and times, and not the candidates with their layer. */
  void remember(BucketResult result) {
    timings.put(result.key(), result.timings());
  }

  /** What this process's search of a bucket found out about each tactic; empty without one. */
  ImmutableList<TacticTiming> timings(TuningKey key) {
    return timings.getOrDefault(key, ImmutableList.of());
  }

  void clear() {
    tunings.clear();
    timings.clear();
  }
}
