package io.moe4j.autotune.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import io.moe4j.RoutingSkew;
import io.moe4j.autotune.search.BucketResult;
import io.moe4j.autotune.search.TacticTiming;
import io.moe4j.autotune.search.TacticTiming.Outcome;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BlocklistTest {
  private static final BlockedTactic BAD = new BlockedTactic("op", "layer", "bad", "SIGSEGV");

  @TempDir private Path folder;
  private final Blocklist list = new Blocklist();

  @Test
  void whatIsNotListedPasses() {
    assertEquals(Optional.empty(), list.reasonAgainst("op", "layer", "bad"));
    list.add(BAD);
    assertEquals(Optional.of("SIGSEGV"), list.reasonAgainst("op", "layer", "bad"));
    assertEquals(Optional.empty(), list.reasonAgainst("op", "layer", "good"));
    assertEquals(Optional.empty(), list.reasonAgainst("op", "other", "bad"));
    assertEquals(Optional.empty(), list.reasonAgainst("other", "layer", "bad"));
  }

  @Test
  void theFirstReasonStays() {
    assertTrue(list.add(BAD));
    assertEquals(false, list.add(new BlockedTactic("op", "layer", "bad", "later")));
    assertEquals(ImmutableList.of(BAD), list.tactics());
  }

  @Test
  void aSavedListIsLoadedBack() {
    Path file = folder.resolve("deep/down/blocklist.json");
    list.add(BAD);
    list.add(new BlockedTactic("op", "layer", "ä\"\\", "ümlaut"));
    list.save(file, Entries.HERE);
    Blocklist loaded = new Blocklist();
    assertEquals(ImmutableList.of(), loaded.load(file, Entries.HERE));
    assertEquals(list.tactics(), loaded.tactics());
  }

  @Test
  void severalFilesAddUp() {
    list.add(BAD);
    list.save(folder.resolve("a"), Entries.HERE);
    Blocklist other = new Blocklist();
    other.add(new BlockedTactic("op", "layer", "worse", ""));
    other.save(folder.resolve("b"), Entries.HERE);
    Blocklist loaded = new Blocklist();
    loaded.load(folder.resolve("a"), Entries.HERE);
    loaded.load(folder.resolve("b"), Entries.HERE);
    assertEquals(2, loaded.tactics().size());
  }

  @Test
  void anotherEnvironmentsFileIsNotUsed() {
    Path file = folder.resolve("blocklist.json");
    list.add(BAD);
    list.save(file, Entries.HERE);
    for (Map.Entry<String, String> changed :
        Map.of("device", "other", "kernels", "k2", "driver", "14").entrySet()) {
      Environment elsewhere = with(Entries.HERE, changed.getKey(), changed.getValue());
      Blocklist loaded = new Blocklist();
      assertEquals(1, loaded.load(file, elsewhere).size());
      assertEquals(ImmutableList.of(), loaded.tactics());
    }
  }

  @Test
  void aWildcardOrNoEnvironmentFitsEverywhere() throws IOException {
    Path file = folder.resolve("blocklist.json");
    list.add(BAD);
    list.save(file, with(Entries.HERE, "device", Environment.ANY));
    Environment elsewhere = with(Entries.HERE, "device", "other");
    Blocklist loaded = new Blocklist();
    assertEquals(ImmutableList.of(), loaded.load(file, elsewhere));
    assertEquals(ImmutableList.of(BAD), loaded.tactics());

    Files.writeString(
        file,
        "{\"format\":\"moe4j-blocklist-1\",\"tactics\":"
            + "[{\"operation\":\"op\",\"runner\":\"layer\",\"tactic\":\"bad\"}]}");
    Blocklist plain = new Blocklist();
    assertEquals(ImmutableList.of(), plain.load(file, elsewhere));
    assertEquals(1, plain.tactics().size());
  }

  @Test
  void anEmptyListLoads() {
    Path file = folder.resolve("blocklist.json");
    list.save(file, Entries.HERE);
    assertEquals(ImmutableList.of(), list.load(file, Entries.HERE));
    assertEquals(ImmutableList.of(), list.tactics());
  }

  @Test
  void missingAndDamagedFilesAreSaid() throws IOException {
    Path file = folder.resolve("blocklist.json");
    assertThrows(StoreException.class, () -> list.load(file, Entries.HERE));
    for (String text :
        List.of("", "{", "[]", "{}", "{\"format\":\"moe4j-blocklist-1\",\"tactics\":[{}]}")) {
      Files.writeString(file, text);
      StoreException e =
          assertThrows(StoreException.class, () -> list.load(file, Entries.HERE), text);
      assertTrue(e.getMessage().contains(file.toString()), e.getMessage());
    }
    assertEquals(ImmutableList.of(), list.tactics());
  }

  @Test
  void defectsOfASearchMakeAList() {
    ImmutableList<TacticTiming> timings =
        Arrays.stream(Outcome.values())
            .map(
                outcome ->
                    new TacticTiming(
                        "layer",
                        outcome.name(),
                        outcome,
                        "why",
                        OptionalDouble.empty(),
                        ImmutableMap.of(),
                        0))
            .collect(ImmutableList.toImmutableList());
    BucketResult result =
        new BucketResult(
            Entries.key("a", 16),
            BucketResult.Status.TUNED,
            "",
            RoutingSkew.UNKNOWN,
            ImmutableMap.of(),
            timings,
            1,
            1);
    assertEquals(
        List.of(
            new BlockedTactic("op", "layer", "CRASHED", "why (16 tokens)"),
            new BlockedTactic("op", "layer", "FAULTED", "why (16 tokens)"),
            new BlockedTactic("op", "layer", "REJECTED", "why (16 tokens)")),
        Blocklist.generate(List.of(result)).tactics());
  }

  private static Environment with(Environment environment, String field, String value) {
    Map<String, String> fields = new TreeMap<>(environment.fields());
    fields.put(field, value);
    return Environment.of(fields);
  }
}
