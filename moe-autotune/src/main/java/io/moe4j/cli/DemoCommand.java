package io.moe4j.cli;

import io.moe4j.DType;
import io.moe4j.MoeDevice;
import io.moe4j.MoeException;
import io.moe4j.QuantFormat;
import io.moe4j.Tactic;
import io.moe4j.autotune.Autotuner;
import io.moe4j.autotune.TunerOptions;
import io.moe4j.checkpoint.MoeCheckpoint;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;

/** Shows the library at work on a layer of a real model's size, and checks what it computes. */
@Command(
    name = "demo",
    description = {
      "Write a synthetic checkpoint of the size of one layer of gpt-oss-20b (0.4 GB, in the folder "
          + "for temporary files, removed afterwards), load it, run it on 1 and 64 tokens, check "
          + "rows against plain double precision, and time every tactic.",
      ""
    })
final class DemoCommand implements Callable<Integer> {
  private static final int[] TOKENS = {1, 64};
  private static final int CHECKED_ROWS = 3;

  /** Relative L2 error that BF16 activations and output stay below. */
  private static final double TOLERANCE = 4e-3;

  private static final double TIMING_SECONDS = 24;
  private static final int MOST_ROUNDS = 200;
  private static final long SEED = 20;

  @Mixin private OutputOptions output;
  @Mixin private DeviceSelection deviceSelection;
  @Mixin private CacheSelection cacheSelection;

  @Override
  public Integer call() throws IOException {
    try (TemporaryFolder folder = TemporaryFolder.create("moe4j-demo-");
        MoeDevice device = deviceSelection.open(output)) {
      output.note("writing a checkpoint to " + folder.path());
      long start = System.nanoTime();
      long bytes = DemoCheckpoint.write(folder.path(), SEED);
      double writeSeconds = secondsSince(start);
      DemoReport report = run(device, folder.path(), bytes, writeSeconds);
      output.print(report);
      return report.passed() ? ExitCode.OK : ExitCode.SOFTWARE;
    }
  }

  private DemoReport run(MoeDevice device, Path folder, long bytes, double writeSeconds) {
    output.note("preparing it on " + device.device());
    Autotuner tuner =
        Autotuner.create(TunerOptions.builder().cacheDirectory(cacheSelection.folder()).build());
    long start = System.nanoTime();
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder);
        PreparedBlock block =
            PreparedBlock.prepare(device, checkpoint.layer(0), QuantFormat.BF16, tuner)) {
      double prepareSeconds = secondsSince(start);
      List<DemoReport.Timing> timings = new ArrayList<>();
      for (int tokens : TOKENS) {
        timings.addAll(run(block, folder, tokens));
      }
      return new DemoReport(
          device.device().toString(),
          device.info().model(),
          device.info().computeUnits(),
          device.info().instructionSets(),
          device.fallbackReason().orElse(null),
          bytes,
          writeSeconds,
          block.routed().preparedBytes(),
          prepareSeconds,
          TOLERANCE,
          timings);
    }
  }

  private List<DemoReport.Timing> run(PreparedBlock block, Path folder, int tokens) {
    HostTensor hiddenStates = DemoCheckpoint.hiddenStates(tokens, SEED + tokens);
    BlockInput input = new BlockInput(hiddenStates, hiddenStates, Optional.empty());
    output.note("running " + Units.tokens(tokens));
    List<DemoReference.Row> expected = expected(folder, hiddenStates);
    try (BlockRun run = BlockRun.bind(block, input, DType.BF16)) {
      Tactic selected = run.selectedTactic();
      run.run(selected);
      checkRouting(expected, run.topkIds());
      long weightBytes = weightBytes(run.topkIds());
      List<Tactic> tactics = block.routed().tactics(tokens);
      double[] errors = new double[tactics.size()];
      for (int i = 0; i < errors.length; i++) {
        run.runRouted(tactics.get(i));
        errors[i] = largestError(expected, run.output());
      }
      double[] seconds = medianSeconds(run, tactics, TIMING_SECONDS / TOKENS.length);
      List<DemoReport.Timing> timings = new ArrayList<>();
      for (int i = 0; i < errors.length; i++) {
        timings.add(
            new DemoReport.Timing(
                tactics.get(i).name(),
                tokens,
                tactics.get(i).equals(selected),
                seconds[i],
                weightBytes / seconds[i] / 1e9,
                expected.size(),
                errors[i]));
      }
      return timings;
    }
  }

  /** Rows from the first to the last, evenly spread. */
  private static List<DemoReference.Row> expected(Path folder, HostTensor hiddenStates) {
    int tokens = (int) hiddenStates.spec().dim(0);
    int rows = Math.min(tokens, CHECKED_ROWS);
    List<DemoReference.Row> expected = new ArrayList<>();
    try (DemoReference reference = new DemoReference(folder)) {
      for (int i = 0; i < rows; i++) {
        expected.add(reference.row(hiddenStates, i * (tokens - 1) / Math.max(1, rows - 1)));
      }
    }
    return expected;
  }

  private static void checkRouting(List<DemoReference.Row> expected, HostTensor topkIds) {
    int topK = DemoCheckpoint.TOP_K;
    for (DemoReference.Row row : expected) {
      List<Integer> found = new ArrayList<>();
      for (int slot = 0; slot < topK; slot++) {
        found.add(topkIds.intAt(row.token() * topK + slot));
      }
      if (!found.equals(row.experts())) {
        throw new MoeException(
            "token %d is routed to experts %s, but the reference says %s"
                .formatted(row.token(), found, row.experts()));
      }
    }
  }

  private static double largestError(List<DemoReference.Row> expected, HostTensor output) {
    double largest = 0;
    for (DemoReference.Row row : expected) {
      double difference = 0;
      double square = 0;
      for (int column = 0; column < row.output().length(); column++) {
        double right = row.output().get(column);
        float found = output.floatAt(row.token() * row.output().length() + column);
        difference += Math.pow(found - right, 2);
        square += right * right;
      }
      // Math.max keeps a NaN, whatever comes after it.
      largest = Math.max(largest, Math.sqrt(difference / square));
    }
    return largest;
  }

  /** Bytes of the experts that some token goes to: what a run has to read at least. */
  private static long weightBytes(HostTensor topkIds) {
    long active = 0;
    boolean[] seen = new boolean[DemoCheckpoint.NUM_EXPERTS];
    for (int i = 0; i < topkIds.spec().elements(); i++) {
      int expert = topkIds.intAt(i);
      active += seen[expert] ? 0 : 1;
      seen[expert] = true;
    }
    return active * DemoCheckpoint.expertBytes();
  }

  /**
   * The median of each tactic, of as many rounds as the budget allows. All take turns: what the
   * machine does beside it, such as compiling Java, is no tactic's own.
   */
  private static double[] medianSeconds(BlockRun run, List<Tactic> tactics, double budget) {
    double[][] seconds = new double[tactics.size()][MOST_ROUNDS];
    long start = System.nanoTime();
    int rounds = 0;
    do {
      for (int i = 0; i < seconds.length; i++) {
        long begin = System.nanoTime();
        run.runRouted(tactics.get(i));
        seconds[i][rounds] = secondsSince(begin);
      }
      rounds++;
    } while (rounds < MOST_ROUNDS && secondsSince(start) * (rounds + 1) / rounds < budget);
    int taken = rounds;
    return Arrays.stream(seconds)
        .mapToDouble(of -> Arrays.stream(of, 0, taken).sorted().toArray()[taken / 2])
        .toArray();
  }

  private static double secondsSince(long start) {
    return (System.nanoTime() - start) / 1e9;
  }
}
