package io.moe4j.tests.jmh;

import com.google.common.base.Splitter;
import io.moe4j.DType;
import io.moe4j.DeviceOptions;
import io.moe4j.HiddenStates;
import io.moe4j.MoeCall;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeOutput;
import io.moe4j.MoeSpec;
import io.moe4j.OwnedTensor;
import io.moe4j.QuantFormat;
import io.moe4j.Routing;
import io.moe4j.Stream;
import io.moe4j.Tactic;
import io.moe4j.TensorSpec;
import io.moe4j.Workspace;
import io.moe4j.autotune.Autotuner;
import io.moe4j.autotune.TunerOptions;
import io.moe4j.autotune.store.Plan;
import io.moe4j.checkpoint.MoeCheckpoint;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;

/**
 * Measures a tuned layer again without the tuner: all tactics in turns, on routing that the tuner
 * has not seen, half of it uniform and half of it Zipf's. Says how long the tuned tactic takes
 * against the best of all and against the default.
 *
 * <pre>
 * moe4j tune --checkpoint DIR --layer 0 --max-tokens 256 --routing unpacked --plan PLAN.json
 * java -cp CLASSPATH io.moe4j.tests.jmh.TunedChoice DIR 0 PLAN.json 1,2,4,8,16,32,64,128,256 \
 *     THREADS SECONDS-FOR-EACH
 * </pre>
 */
public final class TunedChoice {
  private static final int COPIES = 8;

  /** Rounds before what is far behind leaves. */
  private static final int FIRST_ROUNDS = 6;

  private static final double FAR_BEHIND = 1.25;

  private TunedChoice() {}

  /** A tactic with its times in units of the default's, round by round. */
  private record Runner(Tactic tactic, List<Double> uniform, List<Double> zipf) {
    double ratio() {
      return (median(uniform) + median(zipf)) / 2;
    }
  }

  /** See above. */
  public static void main(String[] arguments) {
    double seconds = Double.parseDouble(arguments[5]);
    DeviceOptions options = DeviceOptions.DEFAULT.withThreads(Integer.parseInt(arguments[4]));
    Autotuner tuner =
        Autotuner.create(
            TunerOptions.builder()
                .bundledPlans(false)
                .plan(Plan.load(Path.of(arguments[2])))
                .strict(true)
                .build());
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(Path.of(arguments[0]));
        MoeDevice device = MoeDevice.open("cpu", options)) {
      var experts = checkpoint.layer(Integer.parseInt(arguments[1])).routedExperts();
      MoeSpec spec = experts.spec(QuantFormat.BF16);
      try (MoeLayer layer = device.prepare(spec, experts.weights(spec), tuner)) {
        System.out.printf(
            "%6s %9s  %-26s %8s  %-26s %8s %8s %6s%n",
            "tokens", "default", "tuned", "/default", "best", "/default", "tuned/best", "rounds");
        for (String tokens : Splitter.on(',').split(arguments[3])) {
          measure(layer, Integer.parseInt(tokens), (long) (seconds * 1e9));
        }
      }
    }
  }

  private static void measure(MoeLayer layer, int tokens, long nanos) {
    List<OwnedTensor> owned = new ArrayList<>();
    try (Workspace workspace = layer.newWorkspace(tokens)) {
      List<MoeCall> calls = new ArrayList<>();
      for (int copy = 0; copy < COPIES; copy++) {
        calls.add(call(layer, tokens, copy, owned));
      }
      Tactic tuned = layer.tactic(calls.get(0));
      List<Runner> runners = new ArrayList<>();
      for (Tactic tactic : layer.tactics(tokens)) {
        runners.add(new Runner(tactic, new ArrayList<>(), new ArrayList<>()));
        layer.run(calls.get(0), tactic, workspace, Stream.DEFAULT);
      }
      Runner reference = runners.get(0);
      List<Double> defaultNanos = new ArrayList<>();
      long end = System.nanoTime() + nanos;
      int round = 0;
      while (round < FIRST_ROUNDS || System.nanoTime() < end) {
        double[] times = new double[runners.size()];
        for (int i = 0; i < times.length; i++) {
          int turn = (i + round) % times.length;
          long start = System.nanoTime();
          layer.run(
              calls.get(round % COPIES), runners.get(turn).tactic(), workspace, Stream.DEFAULT);
          times[turn] = System.nanoTime() - start;
        }
        for (int i = 0; i < times.length; i++) {
          Runner runner = runners.get(i);
          (round % 2 == 0 ? runner.uniform() : runner.zipf()).add(times[i] / times[0]);
        }
        defaultNanos.add(times[0]);
        if (++round == FIRST_ROUNDS) {
          double best = runners.stream().mapToDouble(Runner::ratio).min().orElseThrow();
          runners.removeIf(
              runner ->
                  !runner.tactic().equals(reference.tactic())
                      && !runner.tactic().equals(tuned)
                      && runner.ratio() > FAR_BEHIND * best);
        }
      }
      print(tokens, median(defaultNanos), tuned, runners, round);
    } finally {
      owned.forEach(OwnedTensor::close);
    }
  }

  private static void print(
      int tokens, double defaultNanos, Tactic tuned, List<Runner> runners, int rounds) {
    Runner best = runners.stream().min(Comparator.comparingDouble(Runner::ratio)).orElseThrow();
    Runner chosen =
        runners.stream().filter(r -> r.tactic().equals(tuned)).findFirst().orElseThrow();
    System.out.printf(
        Locale.ROOT,
        "%6d %6.2f ms  %-26s %8.3f  %-26s %8.3f %10.3f %6d%n",
        tokens,
        defaultNanos / 1e6,
        tuned,
        chosen.ratio(),
        best.tactic(),
        best.ratio(),
        chosen.ratio() / best.ratio(),
        rounds);
  }

  private static double median(List<Double> values) {
    double[] sorted = values.stream().mapToDouble(Double::doubleValue).sorted().toArray();
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  /** A call on made-up hidden states; every other copy's routing is Zipf's. */
  private static MoeCall call(MoeLayer layer, int tokens, int copy, List<OwnedTensor> owned) {
    MoeSpec spec = layer.spec();
    SplittableRandom random = new SplittableRandom(1_000 + copy);
    ByteBuffer states = buffer(2 * tokens * spec.hiddenSize());
    while (states.hasRemaining()) {
      states.putShort((short) (Float.floatToRawIntBits((float) random.nextGaussian()) >>> 16));
    }
    ByteBuffer ids = buffer(4 * tokens * spec.topK());
    ByteBuffer weights = buffer(4 * tokens * spec.topK());
    for (int token = 0; token < tokens; token++) {
      boolean[] taken = new boolean[spec.numExperts()];
      for (int slot = 0; slot < spec.topK(); slot++) {
        int expert;
        do {
          expert = expert(spec.numExperts(), copy % 2 == 1, random);
        } while (taken[expert]);
        taken[expert] = true;
        ids.putInt(expert);
        weights.putFloat(1f / spec.topK());
      }
    }
    OwnedTensor output =
        layer.device().allocate(TensorSpec.of(DType.BF16, tokens, spec.hiddenSize()));
    owned.add(output);
    return MoeCall.of(
        new Routing.Unpacked(
            upload(layer, TensorSpec.of(DType.I32, tokens, spec.topK()), ids, owned),
            upload(layer, TensorSpec.of(DType.F32, tokens, spec.topK()), weights, owned)),
        HiddenStates.bf16(upload(layer, output.spec(), states, owned)),
        new MoeOutput.Finalized(output));
  }

  /** The popularity of an expert falls with its number, or all are alike. */
  private static int expert(int numExperts, boolean zipf, SplittableRandom random) {
    return zipf
        ? Math.min(numExperts, (int) Math.pow(numExperts + 1.0, random.nextDouble())) - 1
        : random.nextInt(numExperts);
  }

  private static ByteBuffer buffer(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static OwnedTensor upload(
      MoeLayer layer, TensorSpec spec, ByteBuffer contents, List<OwnedTensor> owned) {
    OwnedTensor tensor = layer.device().upload(spec, contents.flip());
    owned.add(tensor);
    return tensor;
  }
}
