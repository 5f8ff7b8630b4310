package io.moe4j.autotune.profile;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.DType;
import io.moe4j.DeviceOptions;
import io.moe4j.HiddenStates;
import io.moe4j.MoeCall;
import io.moe4j.MoeDevice;
import io.moe4j.MoeOutput;
import io.moe4j.QuantFormat;
import io.moe4j.Routing;
import io.moe4j.RoutingSkew;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeTactic;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class CallKindTest {

  @Test
  void everyKindHasAnIndexOfItsOwn() {
    try (MoeDevice device =
        MoeDevice.open(new FakeGpu(FakeTactic.of("a", 1)), 0, DeviceOptions.DEFAULT)) {
      Tensor tensor = device.borrow(TensorSpec.of(DType.F32, 1, 1), 4096);
      Map<Integer, CallKind> kinds = new HashMap<>();
      for (MoeCall call : allCalls(tensor)) {
        int index = CallKind.indexOf(call);
        assertTrue(index >= 0 && index < CallKind.COUNT, () -> "index " + index);
        CallKind kind = CallKind.of(call);
        CallKind other = kinds.putIfAbsent(index, kind);
        assertTrue(other == null, () -> kind + " and " + other + " share " + index);
      }
      assertEquals(CallKind.COUNT, kinds.size());
    }
  }

  private static List<MoeCall> allCalls(Tensor tensor) {
    List<MoeCall> calls = new ArrayList<>();
    Routing[] routings = {
      new Routing.FromLogits(tensor),
      new Routing.Packed(tensor),
      new Routing.Unpacked(tensor, tensor)
    };
    MoeOutput[] outputs = {
      new MoeOutput.Finalized(tensor), new MoeOutput.Permuted(tensor, tensor, tensor)
    };
    for (Routing routing : routings) {
      for (MoeOutput output : outputs) {
        for (QuantFormat format : QuantFormat.values()) {
          Optional<Tensor> scales = format.hasScales() ? Optional.of(tensor) : Optional.empty();
          MoeCall plain = MoeCall.of(routing, new HiddenStates(format, tensor, scales, 1f), output);
          for (RoutingSkew skew : RoutingSkew.values()) {
            MoeCall call = plain.withSkew(skew);
            calls.add(call);
            calls.add(call.withPerTokenScale(tensor));
            calls.add(call.withGemm1LoraDelta(tensor));
            calls.add(call.withPerTokenScale(tensor).withGemm1LoraDelta(tensor));
          }
        }
      }
    }
    return calls;
  }
}
