package io.moe4j.autotune.profile;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableSortedMap;
import io.moe4j.Activation;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingMode;
import io.moe4j.RoutingSkew;
import io.moe4j.RoutingSpec;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeTactic;
import io.moe4j.autotune.testing.TestLayers;
import java.util.HashSet;
import java.util.Set;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TuningKeyTest {
  private static final CallKind PACKED = CallKind.of(RoutingMode.PACKED);

  private final FakeGpu gpu = new FakeGpu(FakeTactic.of("a", 1));

  @Test
  void textNamesEverythingAndIsReadBack() {
    TuningKey key = key(spec -> spec, PACKED, 16);
    assertEquals(
        "fused_moe[activation=swiglu,activations=bf16,backend=cuda,bias=false,"
            + "device=Fake+GPU+80GB,experts=16,finalize=true,hidden=32,input=bf16,"
            + "intermediate=32,isa=sm_90a,local_experts=16,lora=false,method=none,"
            + "routing=packed,shared_experts=0,skew=unknown,token_scale=false,topk=4,units=100,"
            + "weights=nvfp4]@16",
        key.toString());
    assertEquals(key, TuningKey.parse(key.toString()));
  }

  @Test
  void hashIsTheSameInEveryProcess() {
    // Files of older releases are found by it: a change here is a change of the cache's format.
    assertEquals("2bee4e3a01e0ed54", key(spec -> spec, PACKED, 16).hash().substring(0, 16));
  }

  @Test
  void whateverChangesSpeedOrMeaningChangesTheKey() {
    Set<TuningKey> keys = new HashSet<>();
    assertTrue(keys.add(key(spec -> spec, PACKED, 16)));
    assertTrue(keys.add(key(spec -> spec, PACKED, 32)));
    for (RoutingMode mode : new RoutingMode[] {RoutingMode.UNPACKED, RoutingMode.FROM_LOGITS}) {
      assertTrue(keys.add(key(spec -> spec, CallKind.of(mode), 16)));
    }
    for (RoutingSkew skew : RoutingSkew.values()) {
      assertEquals(skew != RoutingSkew.UNKNOWN, keys.add(key(s -> s, PACKED.withSkew(skew), 16)));
    }
    for (QuantFormat format : QuantFormat.values()) {
      if (format.isForWeights() && format != QuantFormat.NVFP4) {
        assertTrue(keys.add(key(s -> s.weightFormat(format), PACKED, 16)));
      }
      if (format.isForActivations() && format != QuantFormat.BF16) {
        assertTrue(keys.add(key(s -> s.activationFormat(format), PACKED, 16)));
        assertTrue(keys.add(key(s -> s, PACKED.withHiddenStates(format), 16)));
      }
    }
    assertTrue(keys.add(key(s -> s.hiddenSize(64), PACKED, 16)));
    assertTrue(keys.add(key(s -> s.intermediateSize(64), PACKED, 16)));
    assertTrue(keys.add(key(s -> s.numExperts(32), PACKED, 16)));
    assertTrue(keys.add(key(s -> s.topK(2), PACKED, 16)));
    assertTrue(keys.add(key(s -> s.activation(Activation.GEGLU), PACKED, 16)));
    assertTrue(keys.add(key(s -> s.expertParallel(0, 8), PACKED, 16)));
    CallKind options =
        new CallKind(RoutingMode.PACKED, QuantFormat.BF16, false, true, true, RoutingSkew.UNKNOWN);
    assertTrue(keys.add(key(s -> s, options, 16)));
    gpu.computeUnits(50);
    assertTrue(keys.add(key(s -> s, PACKED, 16)));
    gpu.model("another");
    assertTrue(keys.add(key(s -> s, PACKED, 16)));
  }

  @Test
  void ranksThatHoldEquallyManyExpertsShareTheirKeys() {
    assertEquals(
        key(s -> s.expertParallel(0, 8), PACKED, 16), key(s -> s.expertParallel(8, 8), PACKED, 16));
  }

  @Test
  void theRoutingMethodMattersOnlyWhereItRuns() {
    Function<MoeSpec.Builder, MoeSpec.Builder> sigmoid =
        spec -> spec.routing(RoutingSpec.of(RoutingMethod.SIGMOID));
    CallKind fromLogits = CallKind.of(RoutingMode.FROM_LOGITS);
    assertEquals(key(s -> s, PACKED, 1), key(sigmoid, PACKED, 1));
    assertNotEquals(key(s -> s, fromLogits, 1), key(sigmoid, fromLogits, 1));
  }

  @Test
  void signsInNamesDoNotEndTheText() {
    TuningFamily family = new TuningFamily("op[x]", ImmutableSortedMap.of("a=b", "c,d@1]"));
    TuningKey key = new TuningKey(family, 7);
    assertEquals(key, TuningKey.parse(key.toString()));
    assertFalse(key.toString().contains("c,d"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "@", "fused_moe", "fused_moe[]", "op[a]@1", "op[a=b]@0", "op[%]@1"})
  void otherTextIsRefused(String text) {
    assertThrows(InvalidArgumentException.class, () -> TuningKey.parse(text));
  }

  private TuningKey key(
      Function<MoeSpec.Builder, MoeSpec.Builder> change, CallKind kind, long tokens) {
    MoeSpec spec = change.apply(TestLayers.spec()).build();
    try (MoeDevice device = gpu.open();
        MoeLayer layer = device.prepare(spec, expert -> TestLayers.weights(spec))) {
      return TuningKey.of(layer, kind, tokens);
    }
  }
}
