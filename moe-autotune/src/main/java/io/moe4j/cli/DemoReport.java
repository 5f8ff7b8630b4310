package io.moe4j.cli;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.io.PrintWriter;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * What the demo saw.
 *
 * @param device where it ran
 * @param computeUnits threads of a CPU, multiprocessors of a GPU
 * @param fallbackReason why "auto" became the CPU; null if it did not
 * @param checkpointBytes size of the checkpoint's tensors
 * @param preparedBytes size of the weights as the device keeps them
 * @param tolerance relative L2 error that is accepted
 * @param timings each tactic at each number of tokens
 */
record DemoReport(
    String device,
    String deviceModel,
    int computeUnits,
    String instructionSets,
    String fallbackReason,
    long checkpointBytes,
    double writeSeconds,
    long preparedBytes,
    double prepareSeconds,
    double tolerance,
    List<Timing> timings)
    implements OutputOptions.Report {

  /**
   * One tactic at one number of tokens.
   *
   * @param selected whether it is what {@code run} chooses
   * @param seconds median of a run of the routed experts
   * @param weightGigabytesPerSecond weights of the chosen experts, over the time
   * @param checkedRows output rows that were compared with the reference
   * @param relativeError the largest relative L2 error of such a row
   */
  record Timing(
      String tactic,
      int tokens,
      boolean selected,
      double seconds,
      double weightGigabytesPerSecond,
      int checkedRows,
      double relativeError) {}

  /** Whether every tactic computed what the reference says. */
  @JsonProperty
  boolean passed() {
    return timings.stream().allMatch(timing -> timing.relativeError() < tolerance);
  }

  @Override
  public void print(PrintWriter out) {
    out.printf(
        "one layer of gpt-oss-20b's size: H = %d, I = %d, %d experts, top %d, MXFP4 weights%n",
        DemoCheckpoint.HIDDEN_SIZE,
        DemoCheckpoint.INTERMEDIATE_SIZE,
        DemoCheckpoint.NUM_EXPERTS,
        DemoCheckpoint.TOP_K);
    out.printf(
        "%s: %s, %d %s, %s%n",
        device,
        deviceModel,
        computeUnits,
        device.equals("cpu") ? "threads" : "multiprocessors",
        instructionSets);
    out.printf(
        "checkpoint of %s written in %s, prepared to %s in %s%n%n",
        Units.bytes(checkpointBytes),
        Units.seconds(writeSeconds),
        Units.bytes(preparedBytes),
        Units.seconds(prepareSeconds));
    printTimings(out);
    out.println();
    out.println("* what run chooses; GB/s: weights of the chosen experts over the time");
    out.printf(
        Locale.ROOT,
        "error: relative L2 against double precision, of %d rows; %s %.1e%n",
        checkedRows(),
        passed() ? "all below" : "FAILED, expected below",
        tolerance);
  }

  /** Rows that every tactic was checked on, over all inputs. */
  private int checkedRows() {
    return timings.stream()
        .collect(Collectors.toMap(Timing::tokens, Timing::checkedRows, Math::max))
        .values()
        .stream()
        .mapToInt(Integer::intValue)
        .sum();
  }

  private void printTimings(PrintWriter out) {
    TextTable table = new TextTable().text("tactic");
    List<Integer> tokenCounts = timings.stream().map(Timing::tokens).distinct().toList();
    for (int tokens : tokenCounts) {
      table.number(Units.tokens(tokens)).number("GB/s").number("error");
    }
    for (String tactic : timings.stream().map(Timing::tactic).distinct().toList()) {
      String[] cells = new String[1 + 3 * tokenCounts.size()];
      cells[0] = tactic;
      for (int i = 0; i < tokenCounts.size(); i++) {
        Optional<Timing> timing = timing(tactic, tokenCounts.get(i));
        cells[1 + 3 * i] =
            timing.map(t -> (t.selected() ? "* " : "") + Units.seconds(t.seconds())).orElse("-");
        cells[2 + 3 * i] = timing.map(t -> format("%.1f", t.weightGigabytesPerSecond())).orElse("");
        cells[3 + 3 * i] = timing.map(t -> format("%.1e", t.relativeError())).orElse("");
      }
      table.row(cells);
    }
    table.print(out, "");
  }

  private Optional<Timing> timing(String tactic, int tokens) {
    return timings.stream()
        .filter(timing -> timing.tactic().equals(tactic) && timing.tokens() == tokens)
        .findFirst();
  }

  private static String format(String format, double value) {
    return String.format(Locale.ROOT, format, value);
  }
}
