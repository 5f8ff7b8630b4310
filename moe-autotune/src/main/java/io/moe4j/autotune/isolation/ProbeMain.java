package io.moe4j.autotune.isolation;

import com.google.common.collect.ImmutableMap;
import io.moe4j.DeviceException;
import io.moe4j.MoeDevice;
import io.moe4j.MoeException;
import io.moe4j.MoeLayer;
import io.moe4j.RoutingSkew;
import io.moe4j.Stream;
import io.moe4j.Tactic;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.MoeOperation;
import io.moe4j.autotune.profile.ProfileInputs;
import io.moe4j.autotune.profile.TokenBuckets;
import io.moe4j.autotune.profile.TunableRunner;
import io.moe4j.autotune.profile.TunedOperation;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

/**
 * The other process: reads a {@link ProbeRequest} and then one {@link Trial} a line from its
 * standard input, and says on its standard output which trials it begins and survives. Ends with
 * its input.
 */
final class ProbeMain {
  /** Begins the lines that count; whatever else a library prints does not. */
  static final String PREFIX = "moe4j-probe: ";

  static final String READY = "ready";
  static final String BEGIN = "begin";
  static final String END = "end";

  private ProbeMain() {}

  /** Runs all trials. */
  public static void main(String[] arguments) throws IOException {
    BufferedReader input =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    ProbeRequest request = ProbeRequest.parse(input.readLine());
    try (MoeDevice device = MoeDevice.open(request.device(), request.options());
        MoeLayer layer =
            device.prepare(request.spec(), new SyntheticWeights(request.spec(), request.bias()))) {
      say(READY);
      for (String line = input.readLine(); line != null; line = input.readLine()) {
        say(BEGIN);
        run(layer, request.kind(), Trial.parse(line));
        say(END);
      }
    }
  }

  /**
   * A refusal is an answer, and not this process's business. A failure of the device is its end: a
   * device that is broken would let every later trial fail too.
   */
  private static void run(MoeLayer layer, CallKind kind, Trial trial) {
    TunedOperation operation =
        MoeOperation.of(
            layer,
            kind,
            TokenBuckets.of(trial.tokens()),
            ImmutableMap.of(RoutingSkew.UNIFORM, 1.0));
    TunableRunner runner = operation.runners().get(0);
    try (ProfileInputs inputs = ProfileInputs.allocate(operation, trial.tokens(), 1);
        TunableRunner.Prepared prepared = runner.prepare(inputs.rows())) {
      for (Tactic tactic : runner.tactics(operation.shapes(trial.tokens()))) {
        if (tactic.name().equals(trial.tactic())) {
          prepared.launch(0, tactic, Stream.DEFAULT);
          layer.device().synchronize(Stream.DEFAULT);
        }
      }
    } catch (DeviceException e) {
      throw e;
    } catch (MoeException e) {
      System.out.println(e.getMessage());
    }
  }

  private static void say(String what) {
    System.out.println(PREFIX + what);
    System.out.flush();
  }
}
