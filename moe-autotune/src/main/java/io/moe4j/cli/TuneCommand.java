package io.moe4j.cli;

import com.google.common.base.Stopwatch;
import com.google.common.collect.ImmutableSet;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMode;
import io.moe4j.RoutingSkew;
import io.moe4j.autotune.Autotuner;
import io.moe4j.autotune.TunerOptions;
import io.moe4j.autotune.TuningOptions;
import io.moe4j.autotune.TuningReport;
import io.moe4j.autotune.isolation.IsolationOptions;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.profile.TuningFamily;
import io.moe4j.autotune.store.Plan;
import io.moe4j.autotune.store.TacticCacheV1;
import io.moe4j.checkpoint.MoeCheckpoint;
import io.moe4j.checkpoint.MoeCheckpointLayer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** Finds the best tactics of a checkpoint's block on this machine, and keeps them. */
@Command(
    name = "tune",
    description = {
      "Measure which tactics run a Mixture-of-Experts block of a checkpoint fastest, for each of a "
          + "list of token counts, and keep them for run and demo.",
      "What was tuned before is not measured again. A token count whose time ran out gets the best "
          + "tactic so far; the next tune measures it again and gives it all the time it needs. "
          + "Ctrl-C keeps what is finished.",
      "Fails where nothing could be tuned, and where neither the cache nor a plan has it.",
      ""
    })
final class TuneCommand implements Callable<Integer> {
  @Mixin private OutputOptions output;
  @Mixin private LayerSelection layerSelection;
  @Mixin private DeviceSelection deviceSelection;
  @Mixin private CacheSelection cacheSelection;

  @ArgGroup private Tokens tokens = new Tokens();

  /** The token counts: listed, or made from the largest one. */
  private static final class Tokens {
    @Option(
        names = "--tokens",
        paramLabel = "N,...",
        converter = BucketsConverter.class,
        description = {
          "Token counts to tune, e.g. 1,16,100, pow2:4096 or hybrid:4096.",
          "A count between two of a list gets the lower one's tactic, else the higher one's;",
          "with :up or :down at the end, that one's."
        })
    private TokenBuckets counts;

    @Option(
        names = "--max-tokens",
        paramLabel = "N",
        converter = MaxTokensConverter.class,
        description = "Tune powers of two up to N (default: 8192).")
    private long max = TunerOptions.TUNE_MAX_NUM_TOKENS;

    TokenBuckets buckets() {
      return counts != null ? counts : TokenBuckets.powersOfTwo(max);
    }
  }

  /** Accepts token counts that a call can have. */
  private static final class MaxTokensConverter implements ITypeConverter<Long> {
    @Override
    public Long convert(String text) {
      if (!text.matches("[0-9]{1,9}")
          || Long.parseLong(text) < 1
          || Long.parseLong(text) > MoeLayer.MAX_TOKENS) {
        throw new TypeConversionException(
            "found " + text + ", expected 1 to " + MoeLayer.MAX_TOKENS);
      }
      return Long.valueOf(text);
    }
  }

  @Option(
      names = "--budget",
      paramLabel = "TIME",
      defaultValue = "60s",
      converter = BudgetConverter.class,
      description = "Time to measure, e.g. 90s or 5m (default: 60s); then the best so far is kept.")
  private Duration budget;

  @Option(
      names = "--routing",
      paramLabel = "from_logits|packed|unpacked",
      split = ",",
      description = {
        "How launches are going to get their routing (default: from_logits); several with commas.",
        "run has logits or, with topk_ids in its input, unpacked routing."
      })
  private Set<RoutingMode> routing = EnumSet.of(RoutingMode.FROM_LOGITS);

  @Option(
      names = "--activations",
      paramLabel = "FORMAT",
      defaultValue = "bf16",
      converter = ActivationFormats.class,
      completionCandidates = ActivationFormats.class,
      description = {
        "Format of the inputs of the matrix multiplications (default: bf16).",
        "One of ${COMPLETION-CANDIDATES}."
      })
  private QuantFormat activations;

  @Option(
      names = "--plan",
      paramLabel = "OUT.json",
      description = "Also write this block's tunings to a plan, to be shipped with the model.")
  private Path plan;

  @Option(
      names = "--report",
      paramLabel = "OUT.html",
      description = "Also write a page that shows each tactic's times.")
  private Path page;

  @Option(
      names = "--isolate",
      description = "Try each tactic in another process first, so that none can end this one.")
  private boolean isolate;

  /** Calls that are tuned together. */
  private record Sweep(String experts, MoeLayer layer, CallKind kind) {
    TuningFamily family() {
      return TuningFamily.of(layer, kind);
    }
  }

  @Override
  public Integer call() {
    checkFolder("--plan", plan);
    checkFolder("--report", page);
    try (Interruption interruption = Interruption.watch();
        MoeCheckpoint checkpoint = layerSelection.open();
        MoeDevice device = deviceSelection.open(output)) {
      MoeCheckpointLayer layer = layerSelection.layer(checkpoint);
      Autotuner tuner = Autotuner.create(options(interruption));
      output.note("preparing layer " + layer.index() + " on " + device.device());
      try (PreparedBlock block = PreparedBlock.prepare(device, layer, activations, tuner)) {
        TuneReport report = tune(tuner, block, interruption, checkpoint, layer);
        output.print(report);
        return report.succeeded() ? ExitCode.OK : ExitCode.SOFTWARE;
      }
    }
  }

  private static void checkFolder(String option, Path file) {
    if (file != null) {
      Folders.check(option, file);
    }
  }

  private TunerOptions options(Interruption interruption) {
    TunerOptions.Builder options =
        TunerOptions.builder()
            .cacheDirectory(cacheSelection.folder())
            .buckets(tokens.buckets())
            .ticker(interruption.ticker());
    if (isolate) {
      options.isolation(IsolationOptions.DEFAULT);
    }
    return options.build();
  }

  private TuneReport tune(
      Autotuner tuner,
      PreparedBlock block,
      Interruption interruption,
      MoeCheckpoint checkpoint,
      MoeCheckpointLayer layer) {
    MoeDevice device = block.routed().device();
    List<Sweep> sweeps = sweeps(block);
    TuneProgress progress =
        new TuneProgress(output.err(), !output.forMachines() && Terminal.isThere(), sweeps.size());
    Stopwatch stopwatch = Stopwatch.createStarted();
    List<TuningReport> reports = new ArrayList<>();
    for (Sweep sweep : sweeps) {
      int left = sweeps.size() - reports.size();
      TuningOptions options =
          TuningOptions.DEFAULT.withBudget(remaining(stopwatch).dividedBy(left));
      if (!output.forMachines()) {
        progress.sweepStarted(sweep.experts() + " experts, " + name(sweep.kind().routing()));
        options = options.withListener(progress);
      }
      reports.add(tuner.tune(sweep.layer(), sweep.kind(), options));
    }
    Plan known = tuner.exportPlan(device);
    List<TuneReport.Part> parts = new ArrayList<>();
    for (int i = 0; i < sweeps.size(); i++) {
      Sweep sweep = sweeps.get(i);
      parts.add(
          TunePart.of(
              sweep.experts(),
              name(sweep.kind().routing()),
              sweep.layer(),
              sweep.family(),
              reports.get(i),
              known));
    }
    TuneReport report =
        new TuneReport(
            Version.current(),
            checkpoint.tensors().source().toString(),
            checkpoint.family(),
            layer.index(),
            device.device().toString(),
            known.environment().fields(),
            device.info().computeUnits(),
            device.info().instructionSets(),
            stopwatch.elapsed().toNanos() / 1e9,
            reports.stream().mapToLong(TuningReport::launches).sum(),
            interruption.interrupted(),
            parts,
            reports.stream().flatMap(r -> r.blocked().stream()).distinct().toList(),
            tuner.statistics().problems(),
            areKept(reports) ? cacheSelection.folder().toString() : null,
            plan == null ? null : plan.toString(),
            page == null ? null : page.toString());
    save(known, sweeps, report);
    return report;
  }

  private Duration remaining(Stopwatch stopwatch) {
    Duration left = budget.minus(stopwatch.elapsed());
    return left.isNegative() ? Duration.ZERO : left;
  }

  private List<Sweep> sweeps(PreparedBlock block) {
    List<Sweep> sweeps = new ArrayList<>();
    for (RoutingMode mode : routing) {
      sweeps.add(new Sweep("routed", block.routed(), CallKind.of(mode)));
    }
    // Every token goes to the one shared expert, which is routing that was computed before.
    block
        .shared()
        .ifPresent(
            shared -> sweeps.add(new Sweep("shared", shared, CallKind.of(RoutingMode.UNPACKED))));
    return sweeps;
  }

  private boolean areKept(List<TuningReport> reports) {
    return reports.stream()
        .allMatch(
            report -> {
              TacticCacheV1 cache =
                  TacticCacheV1.below(cacheSelection.folder(), report.environment());
              return report.results().stream()
                  .filter(result -> result.decision().isPresent())
                  .allMatch(result -> cache.get(result.key()).isPresent());
            });
  }

  private void save(Plan known, List<Sweep> sweeps, TuneReport report) {
    if (plan != null) {
      Set<TuningFamily> families =
          sweeps.stream().map(Sweep::family).collect(ImmutableSet.toImmutableSet());
      Plan.of(
              known.environment(),
              known.entries().values().stream()
                  .filter(
                      entry ->
                          families.contains(entry.key().family().withSkew(RoutingSkew.UNKNOWN)))
                  .toList())
          .save(plan);
    }
    if (page != null) {
      TuningPage.write(report, page);
    }
  }

  private static String name(RoutingMode mode) {
    return mode.name().toLowerCase(Locale.ROOT);
  }
}
