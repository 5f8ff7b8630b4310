package io.moe4j.autotune.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.MoeDevice;
import io.moe4j.autotune.store.Environment.Mismatch;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeTactic;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class EnvironmentTest {
  private static final Environment HERE = Environment.of(Map.of("device", "GPU", "driver", "13"));

  @Test
  void equalValuesMatch() {
    assertEquals(List.of(), HERE.mismatches(HERE));
  }

  @Test
  void aWildcardMatchesEverything() {
    assertEquals(List.of(), stored(Map.of("device", "*", "driver", "13")).mismatches(HERE));
  }

  @Test
  void anotherValueIsADefiniteMismatch() {
    Mismatch mismatch = stored(Map.of("device", "other", "driver", "13")).mismatches(HERE).get(0);
    assertEquals(new Mismatch("device", "other", "GPU"), mismatch);
    assertTrue(mismatch.definite());
    assertEquals("device is other there and GPU here", mismatch.toString());
  }

  @Test
  void unknownAndMissingValuesMatchNothingButMightHave() {
    List<Mismatch> mismatches = stored(Map.of("device", "unknown")).mismatches(HERE);
    assertEquals(2, mismatches.size());
    mismatches.forEach(mismatch -> assertFalse(mismatch.definite(), mismatch.toString()));
  }

  @Test
  void unknownMatchesUnknown() {
    Environment unknown = stored(Map.of("device", "unknown", "driver", "13"));
    assertEquals(List.of(), unknown.mismatches(unknown));
  }

  @Test
  void definiteAndUnknownMismatchesAreToldApart() {
    List<Mismatch> mismatches =
        stored(Map.of("device", "other", "driver", "unknown")).mismatches(HERE);
    assertEquals(1, mismatches.stream().filter(Mismatch::definite).count());
    assertEquals(2, mismatches.size());
  }

  @Test
  void fieldsThatOnlyTheStoredOneHasDoNotCount() {
    assertEquals(
        List.of(),
        stored(Map.of("device", "GPU", "driver", "13", "author", "me")).mismatches(HERE));
  }

  @Test
  void theFingerprintChangesWithWhatMattersAndNothingElse() {
    String before = fingerprint(new FakeGpu(FakeTactic.of("a", 1)));
    assertTrue(before.matches("fake-gpu-80gb-[0-9a-f]{12}"), before);
    assertEquals(before, fingerprint(new FakeGpu(FakeTactic.of("b", 1))));
    assertEquals(before, fingerprint(new FakeGpu(FakeTactic.of("a", 1)).driverVersion(13020)));
    assertNotEquals(before, fingerprint(new FakeGpu(FakeTactic.of("a", 1)).driverVersion(14000)));
    assertNotEquals(before, fingerprint(new FakeGpu(FakeTactic.of("a", 1)).kernels("k2")));
    assertNotEquals(before, fingerprint(new FakeGpu(FakeTactic.of("a", 1)).abi("2")));
    assertNotEquals(before, fingerprint(new FakeGpu(FakeTactic.of("a", 1)).model("other")));
  }

  private static String fingerprint(FakeGpu gpu) {
    try (MoeDevice device = gpu.open()) {
      return Environment.of(device).fingerprint();
    }
  }

  private static Environment stored(Map<String, String> fields) {
    return Environment.of(fields);
  }
}
