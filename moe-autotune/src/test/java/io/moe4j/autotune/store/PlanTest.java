package io.moe4j.autotune.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableList;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeDevice;
import io.moe4j.autotune.profile.TokenRange;
import io.moe4j.autotune.profile.TuningFamily;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeTactic;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PlanTest {
  @TempDir private Path folder;

  // ---- files

  @Test
  void aSavedPlanIsLoadedBack() {
    Plan plan =
        plan(
            Entries.entry("a", 1, "x"),
            Entries.entry("a", 16, "y"),
            Entries.cutShort(Entries.entry("b", 16, "z")));
    Path file = folder.resolve("new/folder/plan.json");
    plan.save(file);
    assertEquals(plan, Plan.load(file));
    assertFalse(Files.exists(folder.resolve("new/folder/.plan.json.tmp")));
  }

  @Test
  void theFileIsReadableAndGroupsFamilies() {
    String json =
        new String(
            plan(Entries.entry("a", 1, "x"), Entries.entry("a", 16, "y")).toJson(),
            StandardCharsets.UTF_8);
    assertEquals(1, json.split("\"operation\"", -1).length - 1, json);
    assertTrue(json.contains("\"tokens\" : 16"), json);
    assertTrue(json.contains("\"tactic\" : \"y\""), json);
  }

  @Test
  void filesThatAreNoPlansAreSaid() throws IOException {
    Path file = folder.resolve("plan.json");
    assertThrows(StoreException.class, () -> Plan.load(file));
    for (String text :
        List.of(
            "",
            "nonsense",
            "{}",
            "{\"format\":\"moe4j-plan-2\"}",
            "{\"format\":\"moe4j-plan-1\",\"families\":[{}]}",
            "{\"format\":\"moe4j-plan-1\",\"families\":[{\"operation\":\"op\",\"tactics\":"
                + "[{\"tokens\":0}]}]}")) {
      Files.writeString(file, text);
      StoreException e = assertThrows(StoreException.class, () -> Plan.load(file), text);
      assertTrue(e.getMessage().contains(file.toString()), e.getMessage());
    }
  }

  @Test
  void theTextNamesEveryTuning() {
    String text =
        plan(Entries.entry("a", 16, "fast"), Entries.cutShort(Entries.entry("a", 32, "so far")))
            .toText();
    assertTrue(text.contains("16-32"), text);
    assertTrue(text.contains("fast"), text);
    assertTrue(text.contains("2.00"), text);
    assertTrue(text.contains("provisional"), text);
    assertTrue(text.contains("kernels=k"), text);
  }

  // ---- two plans

  @Test
  void mergingKeepsBothAndNamesConflicts() {
    Plan first = plan(Entries.entry("a", 1, "x"), Entries.entry("a", 2, "x"));
    Plan second = plan(Entries.entry("a", 2, "y"), Entries.entry("a", 4, "y"));
    Plan.Merged merged = first.merge(second);
    assertEquals(
        plan(Entries.entry("a", 1, "x"), Entries.entry("a", 2, "y"), Entries.entry("a", 4, "y")),
        merged.plan());
    assertEquals(ImmutableList.of(Entries.key("a", 2)), merged.conflicts());
  }

  @Test
  void aTuningThatWasCutShortDoesNotReplaceAFinishedOne() {
    Plan finished = plan(Entries.entry("a", 2, "x"));
    Plan cutShort = plan(Entries.cutShort(Entries.entry("a", 2, "y")));
    assertEquals(finished, finished.merge(cutShort).plan());
    assertEquals(finished, cutShort.merge(finished).plan());
  }

  @Test
  void plansOfDifferentEnvironmentsAreNotMerged() {
    Plan elsewhere =
        Plan.of(Environment.of(Map.of("device", "other")), List.of(Entries.entry("a", 1, "x")));
    assertThrows(InvalidArgumentException.class, () -> plan().merge(elsewhere));
  }

  @Test
  void aDifferenceNamesWhatOnlyOneHasAndWhatChanged() {
    Plan first = plan(Entries.entry("a", 1, "x"), Entries.entry("a", 2, "x"));
    Plan second = plan(Entries.entry("a", 2, "y"), Entries.entry("a", 4, "y"));
    Plan.Difference difference = first.diff(second);
    assertEquals(ImmutableList.of(Entries.key("a", 1)), difference.onlyFirst());
    assertEquals(ImmutableList.of(Entries.key("a", 4)), difference.onlySecond());
    assertEquals(ImmutableList.of(Entries.key("a", 2)), difference.changed());
    assertFalse(difference.isEmpty());
    assertTrue(first.diff(first).isEmpty());
    Plan elsewhere = Plan.of(Environment.of(Map.of("device", "other")), first.entries().values());
    assertFalse(first.diff(elsewhere).isEmpty());
  }

  // ---- devices

  @Test
  void aPlanAppliesToItsDevice() {
    try (MoeDevice device = new FakeGpu(FakeTactic.of("a", 1)).open()) {
      Plan plan = planOf(device);
      ImportReport report = ImportReport.of(plan, device);
      assertEquals(plan.entries().values().asList(), report.applied());
      assertEquals(ImmutableList.of(), report.rejected());
    }
  }

  @Test
  void whatDoesNotApplyIsSaidWithItsReason() {
    Plan plan;
    try (MoeDevice device = new FakeGpu(FakeTactic.of("a", 1)).open()) {
      plan = planOf(device);
    }
    assertEquals(
        "device is Fake GPU 80GB there and other here",
        rejection(plan, new FakeGpu(FakeTactic.of("a", 1)).model("other")));
    assertEquals(
        "driver is 13 there and 12 here",
        rejection(plan, new FakeGpu(FakeTactic.of("a", 1)).driverVersion(12080)));
    assertEquals(
        "kernels is kernels-1 there and kernels-2 here",
        rejection(plan, new FakeGpu(FakeTactic.of("a", 1)).kernels("kernels-2")));
    assertEquals(
        "abi is 1 there and 2 here", rejection(plan, new FakeGpu(FakeTactic.of("a", 1)).abi("2")));
    assertEquals(
        "units is 100 there and 64 here",
        rejection(plan, new FakeGpu(FakeTactic.of("a", 1)).computeUnits(64)));
  }

  @Test
  void wildcardsMakeAPlanApplyElsewhere() {
    Plan plan;
    try (MoeDevice device = new FakeGpu(FakeTactic.of("a", 1)).open()) {
      plan = planOf(device);
    }
    String edited =
        new String(plan.toJson(), StandardCharsets.UTF_8)
            .replaceFirst("\"device\" : \"[^\"]*\"", "\"device\" : \"*\"")
            .replace("\"units\" : \"100\"", "\"units\" : \"*\"");
    Plan anywhere = Plan.parse(edited.getBytes(StandardCharsets.UTF_8), "edited");
    FakeGpu other = new FakeGpu(FakeTactic.of("a", 1)).model("other").computeUnits(64);
    try (MoeDevice device = other.open()) {
      ImportReport report = ImportReport.of(anywhere, device);
      assertEquals(ImmutableList.of(), report.rejected());
      TuningFamily family = report.applied().get(0).key().family();
      assertEquals("other", family.attributes().get("device"));
      assertEquals("64", family.attributes().get("units"));
    }
  }

  private static String rejection(Plan plan, FakeGpu gpu) {
    try (MoeDevice device = gpu.open()) {
      ImportReport report = ImportReport.of(plan, device);
      assertEquals(ImmutableList.of(), report.applied());
      return report.rejected().get(0).reason();
    }
  }

  private static Plan planOf(MoeDevice device) {
    TuningFamily family = TuningFamily.builder("op", device.info()).put("experts", 16).build();
    return Plan.of(
        Environment.of(device),
        List.of(
            new TunedEntry(
                new TuningKey(family, 16), new TokenRange(16, 31), "layer", "a", 1, 2, 0, true)));
  }

  private static Plan plan(TunedEntry... entries) {
    return Plan.of(Entries.HERE, List.of(entries));
  }
}
