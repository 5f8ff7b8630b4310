package io.moe4j.tests.numerics;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.Stream;
import io.moe4j.Tactic;
import io.moe4j.Workspace;
import io.moe4j.WorkspaceMemory;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.Judge;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestCall;
import io.moe4j.tests.fixtures.TestLayer;
import java.util.List;

/** Runs a drawn layer with every tactic that it has, and judges each. */
final class LayerRun {
  private LayerRun() {}

  /** Fails unless every tactic agrees with the oracle and repeats its own bits. */
  static void check(MoeDevice device, LayerDraw draw) {
    check(device, draw.layer(), draw.call(), draw.toString());
  }

  /** Fails unless every tactic agrees with the oracle and repeats its own bits. */
  static void check(MoeDevice device, TestLayer numbers, TestCall callNumbers, String description) {
    Judge judge = new Judge(numbers, callNumbers);
    try (MoeLayer layer = device.prepare(numbers.spec(), numbers);
        DeviceCall call = new DeviceCall(device, numbers.spec(), callNumbers);
        Workspace workspace = layer.newWorkspace(callNumbers.tokens())) {
      List<Tactic> tactics = layer.tactics(callNumbers.tokens());
      assertFalse(tactics.isEmpty(), "no tactic for " + description);
      for (Tactic tactic : tactics) {
        String what = tactic + " of " + description;
        byte[] first = run(layer, call, tactic, workspace, (byte) 0xFF);
        judge.check(call.call(), what);
        byte[] second = run(layer, call, tactic, workspace, (byte) 0x5A);
        assertArrayEquals(first, second, what + ": bits of a second run");
      }
    }
  }

  private static byte[] run(
      MoeLayer layer, DeviceCall call, Tactic tactic, Workspace workspace, byte poison) {
    call.poison();
    WorkspaceMemory.fill(workspace, poison);
    layer.run(call.call(), tactic, workspace, Stream.DEFAULT);
    layer.device().synchronize(Stream.DEFAULT);
    return call.outputBytes();
  }
}
