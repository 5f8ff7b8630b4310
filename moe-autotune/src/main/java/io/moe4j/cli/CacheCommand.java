package io.moe4j.cli;

import com.google.common.collect.Sets;
import io.moe4j.autotune.store.BlockedTactic;
import io.moe4j.autotune.store.CacheDirectory;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/** The cache of tunings: what is there, is it sound, can it go. */
@Command(
    name = "cache",
    description = "Look at the cache of tunings, and clean it.",
    synopsisSubcommandLabel = "COMMAND")
final class CacheCommand extends CommandGroup {
  /** A process that takes longer to write a file is dead. */
  private static final Duration LEFTOVER_AGE = Duration.ofHours(1);

  /** One environment's part of the cache. */
  private record Folder(
      String path,
      Map<String, String> environment,
      int tunings,
      int incomplete,
      List<BlockedTactic> blocked,
      List<String> damage,
      int leftovers) {

    static Folder of(CacheDirectory.Folder folder) {
      return new Folder(
          folder.path().toString(),
          folder.environment().fields(),
          folder.entries().size(),
          (int) folder.entries().stream().filter(entry -> !entry.complete()).count(),
          folder.blocked(),
          folder.damage(),
          folder.leftovers().size());
    }
  }

  private static List<Folder> folders(CacheSelection cacheSelection) {
    return new CacheDirectory(cacheSelection.folder()).folders().stream().map(Folder::of).toList();
  }

  // ---- list

  private record ListReport(String cache, List<Folder> environments)
      implements OutputOptions.Report {
    @Override
    public void print(PrintWriter out) {
      if (environments.isEmpty()) {
        out.println("nothing in " + cache);
      }
      for (Folder folder : environments) {
        out.println(folder.path());
        folder.environment().forEach((field, value) -> out.println("  " + field + ": " + value));
        out.printf("  tunings: %d, of them cut short: %d%n", folder.tunings(), folder.incomplete());
        folder
            .blocked()
            .forEach(
                tactic -> out.println("  blocked " + tactic.tactic() + ": " + tactic.reason()));
      }
    }
  }

  @Command(name = "list", description = "Say which tunings there are, for which environments.")
  int list(@Mixin OutputOptions output, @Mixin CacheSelection cacheSelection) {
    output.print(new ListReport(cacheSelection.folder().toString(), folders(cacheSelection)));
    return ExitCode.OK;
  }

  // ---- verify

  private record VerifyReport(String cache, int tunings, List<String> damage)
      implements OutputOptions.Report {
    @Override
    public void print(PrintWriter out) {
      damage.forEach(out::println);
      out.printf("%d tunings are sound, %d files are not%n", tunings, damage.size());
    }
  }

  @Command(
      name = "verify",
      description = {
        "Read every file; damaged ones are set aside, so that they can be tuned again.",
        "Fails where there were some."
      })
  int verify(@Mixin OutputOptions output, @Mixin CacheSelection cacheSelection) {
    List<Folder> folders = folders(cacheSelection);
    VerifyReport report =
        new VerifyReport(
            cacheSelection.folder().toString(),
            folders.stream().mapToInt(Folder::tunings).sum(),
            folders.stream().flatMap(folder -> folder.damage().stream()).toList());
    output.print(report);
    return report.damage().isEmpty() ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  // ---- prune

  private record PruneReport(String cache, List<String> deleted) implements OutputOptions.Report {
    @Override
    public void print(PrintWriter out) {
      deleted.forEach(out::println);
      out.printf("deleted %d files and folders of %s%n", deleted.size(), cache);
    }
  }

  @Command(
      name = "prune",
      description =
          "Delete files that were set aside, and what processes left that were killed while they "
              + "wrote.")
  int prune(
      @Mixin OutputOptions output,
      @Mixin CacheSelection cacheSelection,
      @Option(
              names = "--environment",
              paramLabel = "NAME",
              description =
                  "Delete all tunings of an environment, too: the name of its folder, as list"
                      + " says.")
          List<String> environments) {
    Set<String> unwanted = environments == null ? Set.of() : Set.copyOf(environments);
    CacheDirectory cache = new CacheDirectory(cacheSelection.folder());
    Set<String> known =
        cache.folders().stream().map(CacheDirectory.Folder::name).collect(Collectors.toSet());
    for (String name : Sets.difference(unwanted, known)) {
      throw new ParameterException(
          output.commandLine(), "--environment: found " + name + ", expected one of " + known);
    }
    List<Path> deleted =
        cache.prune(folder -> unwanted.contains(folder.name()), LEFTOVER_AGE, Instant.now());
    output.print(
        new PruneReport(
            cacheSelection.folder().toString(), deleted.stream().map(Path::toString).toList()));
    return ExitCode.OK;
  }
}
