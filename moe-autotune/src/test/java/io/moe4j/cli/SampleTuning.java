package io.moe4j.cli;

import io.moe4j.autotune.store.BlockedTactic;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** A tuning of nine token counts and twelve tactics, made up. */
final class SampleTuning {
  static final String DEVICE = "Model <7> & \"sons\"";

  private SampleTuning() {}

  /** The report; a bucket was tuned before, one was cut short and one was skipped. */
  static TuneReport report() {
    List<TuneReport.Bucket> buckets = new ArrayList<>();
    for (long tokens = 1; tokens <= 256; tokens *= 2) {
      buckets.add(bucket(tokens));
    }
    buckets.add(
        new TuneReport.Bucket(
            512, "skipped", "the time budget is spent", null, null, null, null, List.of()));
    Map<String, String> environment = new TreeMap<>();
    environment.put("device", DEVICE);
    environment.put("driver", "none");
    environment.put("abi", "1");
    environment.put("kernels", "5aa21aa9b1e19fae");
    return new TuneReport(
        "0.1.0",
        "/models/a-checkpoint-in-a-folder-with-a-long-name/model.safetensors",
        "gpt_oss",
        0,
        "cpu",
        environment,
        2,
        "portable avx2 avx512 avx512_bf16",
        58.2,
        12345,
        false,
        List.of(
            new TuneReport.Part(
                "routed",
                "from_logits",
                "H = 2880, I = 2880, 32 experts, top 4, MXFP4 weights, BF16 activations",
                29.1e9,
                412e9,
                buckets)),
        List.of(new BlockedTactic("fused_moe", "moe4j", "cpu.bad.t4.r64", "died with SIGSEGV")),
        List.of(),
        "/home/somebody/.cache/moe4j",
        null,
        null);
  }

  private static TuneReport.Bucket bucket(long tokens) {
    List<TuneReport.Tactic> tactics = new ArrayList<>();
    TuneReport.Tactic best = null;
    for (int tile : new int[] {4, 8, 16, 64}) {
      for (int rows : new int[] {32, 64, 128}) {
        String name = "cpu.avx512_bf16.t" + tile + ".r" + rows;
        boolean hopeless = tile > 4 * tokens;
        Double nanos = hopeless ? null : nanos(tokens, tile, rows);
        TuneReport.Tactic tactic =
            new TuneReport.Tactic(
                name, hopeless ? "hopeless" : "measured", "", nanos, hopeless ? 0 : 5);
        tactics.add(tactic);
        if (nanos != null && (best == null || nanos < best.nanos())) {
          best = tactic;
        }
      }
    }
    boolean before = tokens == 32;
    return new TuneReport.Bucket(
        tokens,
        before ? "tuned before" : tokens == 256 ? "cut short" : "tuned",
        "",
        best.name(),
        best.nanos(),
        nanos(tokens, 4, 64),
        floor(tokens),
        before ? List.of() : tactics);
  }

  private static double floor(long tokens) {
    double active = 32 * (1 - Math.pow(1 - 4.0 / 32, (double) tokens));
    return Math.max(active * 13.2e6 / 29.1, tokens * 4 * 49.8e6 / 412);
  }

  private static double nanos(long tokens, int tile, int rows) {
    double waste = 1 + 0.6 * Math.abs(Math.log(tile / (1 + tokens / 3.0))) + 0.002 * rows;
    return floor(tokens) * (1 + 0.15 * waste) + 40e3;
  }
}
