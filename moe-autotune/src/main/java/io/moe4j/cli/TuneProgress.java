package io.moe4j.cli;

import io.moe4j.RoutingSkew;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.search.BucketResult;
import io.moe4j.autotune.search.Decision;
import io.moe4j.autotune.search.SearchListener;
import java.io.PrintWriter;
import java.time.Duration;
import java.util.Locale;

/** Shows how tuning goes on: a bar on a terminal, elsewhere a line for each bucket. */
final class TuneProgress implements SearchListener {
  private static final int BAR = 24;
  private static final String CLEAR_LINE = "\r\u001b[K";

  private final PrintWriter out;
  private final boolean terminal;
  private final int sweeps;
  private int sweep;
  private int bucket;
  private int buckets;

  /**
   * @param terminal whether lines can be overwritten
   * @param sweeps how many times all buckets are searched
   */
  TuneProgress(PrintWriter out, boolean terminal, int sweeps) {
    this.out = out;
    this.terminal = terminal;
    this.sweeps = sweeps;
  }

  /** Announces the next of the sweeps. */
  void sweepStarted(String what) {
    sweep++;
    out.println((terminal ? CLEAR_LINE : "") + "tuning " + what);
    out.flush();
  }

  @Override
  public void bucketStarted(TuningKey key, int bucket, int buckets) {
    this.bucket = bucket;
    this.buckets = buckets;
  }

  @Override
  public void tacticMeasured(
      TuningKey key, double progress, String best, double speedup, Duration remaining) {
    if (!terminal) {
      return;
    }
    double done = (sweep - 1 + (bucket + progress) / buckets) / sweeps;
    int filled = (int) (BAR * done);
    out.print(
        CLEAR_LINE
            + "#".repeat(filled)
            + "-".repeat(BAR - filled)
            + String.format(
                Locale.ROOT,
                " %s, %.0f%% of the tactics, best %s %.2fx, %d s left",
                Units.tokens(key.tokens()),
                100 * progress,
                best,
                speedup,
                remaining.toSeconds()));
    out.flush();
  }

  @Override
  public void bucketFinished(BucketResult result) {
    out.println((terminal ? CLEAR_LINE : "") + line(result));
    out.flush();
  }

  private static String line(BucketResult result) {
    StringBuilder line = new StringBuilder("  " + Units.tokens(result.key().tokens()) + ": ");
    Decision decision = decision(result);
    if (decision != null) {
      line.append(decision.candidate().tactic().name())
          .append(", ")
          .append(Units.seconds(decision.nanos() / 1e9))
          .append(String.format(Locale.ROOT, ", %.2fx the default", decision.speedup()));
    }
    if (result.status() != BucketResult.Status.TUNED) {
      line.append(decision == null ? "" : "; ")
          .append(result.status().name().toLowerCase(Locale.ROOT).replace('_', ' '))
          .append(": ")
          .append(result.detail());
    }
    return line.toString();
  }

  /** The blend's, or that of the only distribution there is; null where nothing was chosen. */
  private static Decision decision(BucketResult result) {
    Decision blend = result.decisions().get(RoutingSkew.UNKNOWN);
    return blend != null ? blend : result.decisions().values().stream().findFirst().orElse(null);
  }
}
