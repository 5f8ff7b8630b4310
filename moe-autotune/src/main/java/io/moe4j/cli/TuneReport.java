package io.moe4j.cli;

import com.fasterxml.jackson.annotation.JsonProperty;
import io.moe4j.autotune.store.BlockedTactic;
import java.io.PrintWriter;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * What a tuning did.
 *
 * @param environment what decides whether the tunings mean something elsewhere
 * @param seconds how long it took
 * @param launches launches that it took
 * @param interrupted whether the process was told to end before it was done
 * @param parts the layers and kinds of calls that were tuned
 * @param blocked tactics that were found defective
 * @param problems what went wrong with files
 * @param cache where the tunings are kept; null where they could not all be written
 * @param plan where they were written to as well; null if nowhere
 * @param page where the page was written to; null if nowhere
 */
record TuneReport(
    String version,
    String checkpoint,
    String family,
    int layer,
    String device,
    Map<String, String> environment,
    int computeUnits,
    String instructionSets,
    double seconds,
    long launches,
    boolean interrupted,
    List<Part> parts,
    List<BlockedTactic> blocked,
    List<String> problems,
    String cache,
    String plan,
    String page)
    implements OutputOptions.Report {

  /**
   * Calls that were tuned together.
   *
   * @param experts "routed" or "shared"
   * @param routing where launches get their routing from
   * @param layer what the layer is, in a few words
   * @param bytesPerSecond weights read, by the tactic and token count where that was most; null
   *     where nothing was measured
   * @param flopsPerSecond arithmetic done, likewise
   * @param buckets one for each token count
   */
  record Part(
      String experts,
      String routing,
      String layer,
      Double bytesPerSecond,
      Double flopsPerSecond,
      List<Bucket> buckets) {}

  /**
   * One token count. Times are nanoseconds of a launch, and a blend over distributions of routing.
   *
   * @param status how the search ended, or "tuned before"
   * @param detail why, where it did not come to its end
   * @param tactic the chosen one; null where nothing was chosen
   * @param floorNanos what reading the active experts' weights and doing the arithmetic takes at
   *     the part's best rates; null where those are unknown
   * @param tactics what was found out about each tactic; empty if tuned before
   */
  record Bucket(
      long tokens,
      String status,
      String detail,
      String tactic,
      Double nanos,
      Double defaultNanos,
      Double floorNanos,
      List<Tactic> tactics) {

    /** How many times as fast as the default. */
    @JsonProperty
    Double speedup() {
      return tactic == null ? null : defaultNanos / nanos;
    }
  }

  /**
   * One tactic at one token count.
   *
   * @param outcome how far it came
   * @param nanos its time; null where it was not measured for every distribution
   */
  record Tactic(String name, String outcome, String detail, Double nanos, int samples) {}

  /** Whether there is a tuning for some token count of every part, and a file that has it. */
  @JsonProperty
  boolean succeeded() {
    return (cache != null || plan != null)
        && parts.stream()
            .allMatch(part -> part.buckets().stream().anyMatch(bucket -> bucket.tactic() != null));
  }

  @Override
  public void print(PrintWriter out) {
    for (Part part : parts) {
      out.printf("%s experts, %s: %s%n", part.experts(), part.routing(), part.layer());
      TextTable table =
          new TextTable()
              .number("tokens")
              .text("tactic")
              .number("time")
              .number("default")
              .number("speed-up")
              .text("");
      part.buckets().forEach(bucket -> table.row(cells(bucket)));
      table.print(out, "  ");
    }
    blocked.forEach(tactic -> out.println("blocked " + tactic.tactic() + ": " + tactic.reason()));
    problems.forEach(problem -> out.println("problem: " + problem));
    out.printf(
        "%s %d launches in %s%n",
        interrupted ? "interrupted after" : "tuned with", launches, Units.seconds(seconds));
    Optional.ofNullable(cache).ifPresent(folder -> out.println("kept in " + folder));
    Optional.ofNullable(plan).ifPresent(file -> out.println("plan written to " + file));
    Optional.ofNullable(page).ifPresent(file -> out.println("report written to " + file));
  }

  private static String[] cells(Bucket bucket) {
    boolean chosen = bucket.tactic() != null;
    String note = bucket.status().equals("tuned") ? "" : bucket.status();
    if (!bucket.detail().isEmpty()) {
      note += ": " + bucket.detail();
    }
    return new String[] {
      Long.toString(bucket.tokens()),
      chosen ? bucket.tactic() : "-",
      chosen ? Units.seconds(bucket.nanos() / 1e9) : "-",
      chosen ? Units.seconds(bucket.defaultNanos() / 1e9) : "-",
      chosen ? String.format(Locale.ROOT, "%.2f", bucket.speedup()) : "-",
      note
    };
  }
}
