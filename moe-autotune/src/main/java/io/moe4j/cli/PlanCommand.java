package io.moe4j.cli;

import com.fasterxml.jackson.databind.json.JsonMapper;
import io.moe4j.MoeDevice;
import io.moe4j.MoeException;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.store.Environment;
import io.moe4j.autotune.store.ImportReport;
import io.moe4j.autotune.store.Plan;
import io.moe4j.autotune.store.StoreException;
import io.moe4j.autotune.store.TacticCacheV1;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Plans: tunings in a file, to be shipped with a model or handed to other machines. */
@Command(
    name = "plan",
    description = "Look at plans, and move tunings between plans and the cache.",
    synopsisSubcommandLabel = "COMMAND")
final class PlanCommand extends CommandGroup {

  // ---- show

  private record ShowReport(Plan plan) implements OutputOptions.Report {
    @Override
    public void print(PrintWriter out) {
      out.print(plan.toText());
    }

    @Override
    public Object toJson() {
      return json(plan);
    }
  }

  @Command(name = "show", description = "Print a plan's tunings: tactics, times and gains.")
  int show(
      @Parameters(paramLabel = "PLAN.json", description = "The plan.") Path file,
      @Mixin OutputOptions output) {
    output.print(new ShowReport(load(file)));
    return ExitCode.OK;
  }

  // ---- export

  private record WriteReport(String plan, int tunings, List<String> conflicts)
      implements OutputOptions.Report {
    @Override
    public void print(PrintWriter out) {
      out.printf("wrote %d tunings to %s%n", tunings, plan);
      conflicts.forEach(key -> out.println("conflict: " + key));
    }
  }

  @Command(
      name = "export",
      description = {
        "Write a device's tunings from the cache to a plan.",
        "Fails where the cache has none."
      })
  int export(
      @Parameters(paramLabel = "PLAN.json", description = "The plan; replaced if it exists.")
          Path file,
      @Mixin OutputOptions output,
      @Mixin DeviceSelection deviceSelection,
      @Mixin CacheSelection cacheSelection) {
    Folders.check("the plan", file);
    try (MoeDevice device = deviceSelection.open(output)) {
      TacticCacheV1 cache = TacticCacheV1.below(cacheSelection.folder(), Environment.of(device));
      Plan plan = Plan.of(Environment.of(device), cache.load());
      if (plan.entries().isEmpty()) {
        throw new StoreException(
            "no tunings of this " + device.device() + " in " + cacheSelection.folder());
      }
      plan.save(file);
      output.print(new WriteReport(file.toString(), plan.entries().size(), List.of()));
      return ExitCode.OK;
    }
  }

  // ---- import

  private record ImportedReport(int applied, Map<String, Integer> rejected, String cache)
      implements OutputOptions.Report {
    static ImportedReport of(ImportReport report, Path cache) {
      Map<String, Integer> rejected = new LinkedHashMap<>();
      report.rejected().forEach(rejection -> rejected.merge(rejection.reason(), 1, Integer::sum));
      return new ImportedReport(report.applied().size(), rejected, cache.toString());
    }

    @Override
    public void print(PrintWriter out) {
      out.printf("took %d tunings over to %s%n", applied, cache);
      rejected.forEach((reason, count) -> out.printf("left out %d: %s%n", count, reason));
    }
  }

  @Command(
      name = "import",
      description = {
        "Take a plan's tunings over to the cache, and say which do not apply to the device, and "
            + "why.",
        "Fails where none applies."
      })
  int importPlan(
      @Parameters(paramLabel = "PLAN.json", description = "The plan.") Path file,
      @Mixin OutputOptions output,
      @Mixin DeviceSelection deviceSelection,
      @Mixin CacheSelection cacheSelection) {
    Plan plan = load(file);
    try (MoeDevice device = deviceSelection.open(output)) {
      ImportReport report = ImportReport.of(plan, device);
      TacticCacheV1 cache = TacticCacheV1.below(cacheSelection.folder(), Environment.of(device));
      report.applied().forEach(cache::put);
      output.print(ImportedReport.of(report, cacheSelection.folder()));
      return report.applied().isEmpty() ? ExitCode.SOFTWARE : ExitCode.OK;
    }
  }

  // ---- merge

  @Command(
      name = "merge",
      description = {
        "Write the tunings of several plans of one environment to a new one.",
        "Of two tunings of one shape the later plan's stays, unless it alone was cut short; where "
            + "they name different tactics, that is a conflict, which is printed."
      })
  int merge(
      @Parameters(arity = "2..*", paramLabel = "PLAN.json", description = "The plans.")
          List<Path> files,
      @Option(
              names = "--output",
              required = true,
              paramLabel = "OUT.json",
              description = "The merged plan; replaced if it exists.")
          Path outputPath,
      @Mixin OutputOptions output) {
    Folders.check("--output", outputPath);
    Plan merged = load(files.get(0));
    List<String> conflicts = new ArrayList<>();
    for (Path file : files.subList(1, files.size())) {
      Plan.Merged step = merge(merged, file);
      step.conflicts().forEach(key -> conflicts.add(key.toString()));
      merged = step.plan();
    }
    merged.save(outputPath);
    output.print(new WriteReport(outputPath.toString(), merged.entries().size(), conflicts));
    return ExitCode.OK;
  }

  private static Plan.Merged merge(Plan merged, Path file) {
    try {
      return merged.merge(load(file));
    } catch (StoreException e) {
      throw e;
    } catch (MoeException e) {
      throw new MoeException(file + " cannot be merged: " + e.getMessage(), e);
    }
  }

  // ---- diff

  private record DiffReport(
      List<String> onlyFirst,
      List<String> onlySecond,
      List<Change> changed,
      List<String> environment)
      implements OutputOptions.Report {
    private record Change(String key, String first, String second) {}

    static DiffReport of(Plan first, Plan second) {
      Plan.Difference difference = first.diff(second);
      return new DiffReport(
          difference.onlyFirst().stream().map(TuningKey::toString).toList(),
          difference.onlySecond().stream().map(TuningKey::toString).toList(),
          difference.changed().stream()
              .map(
                  key ->
                      new Change(
                          key.toString(),
                          first.entries().get(key).tactic(),
                          second.entries().get(key).tactic()))
              .toList(),
          difference.environment().stream().map(DiffReport::sentence).toList());
    }

    private static String sentence(Environment.Mismatch mismatch) {
      return "%s is %s in the first and %s in the second"
          .formatted(mismatch.field(), mismatch.here(), mismatch.stored());
    }

    @Override
    public void print(PrintWriter out) {
      environment.forEach(line -> out.println("environment: " + line));
      onlyFirst.forEach(key -> out.println("only in the first: " + key));
      onlySecond.forEach(key -> out.println("only in the second: " + key));
      changed.forEach(
          change ->
              out.println(
                  "changed: " + change.key() + ": " + change.first() + " -> " + change.second()));
    }
  }

  @Command(
      name = "diff",
      description = {"Say how two plans differ.", "Fails where they do, as diff does."})
  int diff(
      @Parameters(index = "0", paramLabel = "FIRST.json", description = "A plan.") Path first,
      @Parameters(index = "1", paramLabel = "SECOND.json", description = "Another plan.")
          Path second,
      @Mixin OutputOptions output) {
    Plan firstPlan = load(first);
    Plan secondPlan = load(second);
    output.print(DiffReport.of(firstPlan, secondPlan));
    return firstPlan.diff(secondPlan).isEmpty() ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  private static Plan load(Path file) {
    if (!Files.isRegularFile(file)) {
      throw new MoeException(file + ": no such file");
    }
    return Plan.load(file);
  }

  private static Object json(Plan plan) {
    try {
      return JsonMapper.builder().build().readTree(plan.toJson());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
