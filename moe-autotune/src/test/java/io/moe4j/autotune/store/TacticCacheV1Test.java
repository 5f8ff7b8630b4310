package io.moe4j.autotune.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableList;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class TacticCacheV1Test {
  @TempDir private Path root;
  private TacticCacheV1 cache;

  @BeforeEach
  void open() {
    cache = TacticCacheV1.below(root, Entries.HERE);
  }

  @Test
  void whatWasPutIsThere() {
    TunedEntry entry = Entries.entry("a", 16, "sm90.n64");
    TunedEntry other = Entries.cutShort(Entries.entry("a", 32, "sm90.n128"));
    cache.put(entry);
    cache.put(other);
    TacticCacheV1 later = TacticCacheV1.below(root, Entries.HERE);
    assertEquals(Optional.of(entry), later.get(entry.key()));
    assertEquals(Optional.of(other), later.get(other.key()));
    assertEquals(Set.of(entry, other), Set.copyOf(later.load()));
    assertEquals(Optional.empty(), later.get(Entries.key("a", 64)));
  }

  @Test
  void aLaterTuningReplacesAnEarlierOne() {
    cache.put(Entries.entry("a", 16, "before"));
    cache.put(Entries.entry("a", 16, "after"));
    assertEquals(ImmutableList.of(Entries.entry("a", 16, "after")), cache.load());
  }

  @Test
  void aProvisionalTuningThatComesLateDoesNotReplaceAFinishedOne() {
    TunedEntry finished = Entries.entry("a", 16, "finished");
    TunedEntry provisional = Entries.cutShort(Entries.entry("a", 16, "provisional"));
    cache.put(provisional);
    assertEquals(Optional.of(provisional), cache.get(finished.key()));
    cache.put(finished);
    assertEquals(Optional.of(finished), cache.get(finished.key()));
    cache.put(provisional);
    assertEquals(Optional.of(finished), cache.get(finished.key()));
    assertEquals(ImmutableList.of(finished), cache.load());
  }

  @Test
  void aProvisionalTuningOfAnEarlierVersionIsReadWhereItWas() throws IOException {
    TunedEntry provisional = Entries.cutShort(Entries.entry("a", 16, "provisional"));
    cache.put(provisional);
    Path file = cache.file(provisional.key());
    Files.move(cache.folder().resolve("provisional").resolve(file.getFileName()), file);
    assertEquals(Optional.of(provisional), cache.get(provisional.key()));
    assertEquals(ImmutableList.of(provisional), cache.load());
    TunedEntry finished = Entries.entry("a", 16, "finished");
    cache.put(finished);
    assertEquals(ImmutableList.of(finished), cache.load());
  }

  @Test
  void nothingIsCreatedBeforeTheFirstTuning() throws IOException {
    assertEquals(ImmutableList.of(), cache.load());
    assertEquals(ImmutableList.of(), cache.loadBlocked());
    assertEquals(Set.of(), filesBelow(root));
  }

  @Test
  void environmentsDoNotMix() {
    TacticCacheV1 other =
        TacticCacheV1.below(
            root, Environment.of(Map.of("device", "GPU", "driver", "14", "abi", "1")));
    cache.put(Entries.entry("a", 16, "here"));
    assertEquals(ImmutableList.of(), other.load());
    other.put(Entries.entry("a", 16, "there"));
    assertEquals(ImmutableList.of(Entries.entry("a", 16, "here")), cache.load());
    assertEquals(2, new CacheDirectory(root).folders().size());
  }

  @Test
  void noTemporaryFileStays() throws IOException {
    cache.put(Entries.entry("a", 16, "t"));
    cache.block(new BlockedTactic("op", "layer", "bad", "SIGSEGV"));
    assertTrue(filesBelow(root).stream().noneMatch(name -> name.endsWith(".tmp")));
    assertEquals(3, filesBelow(root).size());
  }

  @Test
  void blockedTacticsAreKept() {
    BlockedTactic tactic = new BlockedTactic("op", "layer", "bad", "SIGSEGV at 16 tokens");
    cache.block(tactic);
    assertEquals(ImmutableList.of(tactic), TacticCacheV1.below(root, Entries.HERE).loadBlocked());
    assertEquals(ImmutableList.of(), cache.load());
  }

  // ---- damage

  @Test
  void aDamagedFileIsSetAsideAndReportedAndTheOthersAreRead() throws IOException {
    TunedEntry entry = Entries.entry("a", 16, "t");
    byte[] sound = contents(entry);
    List<byte[]> damages =
        List.of(
            new byte[0],
            Arrays.copyOf(sound, sound.length / 2),
            text(sound, "\"t\"", "\"u\""),
            text(sound, "moe4j-tactic-1", "moe4j-tactic-2"),
            "[]".getBytes(StandardCharsets.UTF_8),
            new byte[] {(byte) 0xFF, 0, 1, 2});
    for (byte[] damage : damages) {
      TunedEntry intact = Entries.entry("b", 16, "t");
      cache.put(intact);
      Files.write(cache.file(entry.key()), damage);
      assertEquals(ImmutableList.of(intact), cache.load());
      ImmutableList<String> reports = cache.takeDamage();
      assertEquals(1, reports.size());
      assertTrue(reports.get(0).contains(cache.file(entry.key()).toString()), reports.get(0));
      assertFalse(Files.exists(cache.file(entry.key())));
      assertTrue(
          Files.exists(
              cache.folder().resolve("damaged").resolve(cache.file(entry.key()).getFileName())));
      // The key can be tuned again.
      cache.put(entry);
      assertEquals(Optional.of(entry), cache.get(entry.key()));
      assertEquals(ImmutableList.of(), cache.takeDamage());
    }
  }

  @Test
  void everyTruncationIsFoundOut() throws IOException {
    TunedEntry entry = Entries.entry("a", 16, "t");
    byte[] sound = contents(entry);
    // But for the line's end, each byte counts.
    for (int length = 0; length < sound.length - 1; length++) {
      Files.write(cache.file(entry.key()), Arrays.copyOf(sound, length));
      assertEquals(Optional.empty(), cache.get(entry.key()), "truncated to " + length);
      assertEquals(1, cache.takeDamage().size());
    }
  }

  @Test
  void aFileUnderAnotherKeysNameIsAMiss() throws IOException {
    TunedEntry entry = Entries.entry("a", 16, "t");
    TunedEntry other = Entries.entry("b", 16, "t");
    Files.write(cache.file(other.key()), contents(entry));
    assertEquals(Optional.empty(), cache.get(other.key()));
  }

  @Test
  void aDamagedDescriptionLosesNothingAndIsWrittenAgain() throws IOException {
    TunedEntry entry = Entries.entry("a", 16, "t");
    cache.put(entry);
    Files.writeString(cache.folder().resolve("environment.json"), "{\"environment\": 7");
    CacheDirectory.Folder folder = new CacheDirectory(root).folders().get(0);
    assertEquals(ImmutableList.of(entry), folder.entries());
    assertEquals(Map.of(), folder.environment().fields());
    assertEquals(Entries.HERE.fingerprint(), folder.name());
    cache.put(Entries.entry("a", 32, "t"));
    assertEquals(Entries.HERE, new CacheDirectory(root).folders().get(0).environment());
  }

  // ---- disks that fail

  @Test
  void aFullDiskKeepsWhatWasThereAndLeavesNoHalfFile() throws IOException {
    TunedEntry before = Entries.entry("a", 16, "before");
    cache.put(before);
    Set<String> files = filesBelow(root);
    TacticCacheV1 full =
        TacticCacheV1.below(
            root,
            Entries.HERE,
            new DurableFiles() {
              @Override
              void writeSynced(Path file, byte[] contents) throws IOException {
                Files.write(file, Arrays.copyOf(contents, contents.length / 2));
                throw new FileSystemException(file.toString(), null, "No space left on device");
              }
            });
    StoreException e =
        assertThrows(StoreException.class, () -> full.put(Entries.entry("a", 16, "after")));
    assertTrue(e.getMessage().contains("No space left on device"), e.getMessage());
    assertEquals(files, filesBelow(root));
    assertEquals(Optional.of(before), full.get(before.key()));
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void aRootThatCannotBeWrittenIsSaidAndReadsAsEmpty() {
    // Nobody can create folders there, not even the superuser.
    TacticCacheV1 readOnly = TacticCacheV1.below(Path.of("/proc/moe4j"), Entries.HERE);
    assertEquals(ImmutableList.of(), readOnly.load());
    StoreException e =
        assertThrows(StoreException.class, () -> readOnly.put(Entries.entry("a", 16, "t")));
    assertTrue(e.getMessage().contains("/proc/moe4j"), e.getMessage());
  }

  @Test
  void aRootThatIsAFileIsSaid() throws IOException {
    Path file = Files.createFile(root.resolve("file"));
    TacticCacheV1 blocked = TacticCacheV1.below(file, Entries.HERE);
    assertThrows(StoreException.class, blocked::load);
    assertThrows(StoreException.class, () -> blocked.put(Entries.entry("a", 16, "t")));
  }

  // ---- the whole directory

  @Test
  void foldersNameTheirEnvironmentAndWhatIsInThem() throws IOException {
    cache.put(Entries.entry("a", 16, "t"));
    cache.block(new BlockedTactic("op", "layer", "bad", "r"));
    Files.write(cache.folder().resolve("x.json"), new byte[] {1});
    Path leftover = Files.createFile(cache.folder().resolve(".y.json.1-1.tmp"));
    CacheDirectory.Folder folder = new CacheDirectory(root).folders().get(0);
    assertEquals(Entries.HERE, folder.environment());
    assertEquals(ImmutableList.of(Entries.entry("a", 16, "t")), folder.entries());
    assertEquals(1, folder.blocked().size());
    assertEquals(1, folder.damage().size());
    assertEquals(ImmutableList.of(leftover), folder.leftovers());
    assertEquals(ImmutableList.of(), new CacheDirectory(root.resolve("none")).folders());
  }

  @Test
  void pruningDeletesDamageAndOldLeftoversAndUnwantedEnvironments() throws IOException {
    cache.put(Entries.entry("a", 16, "t"));
    TacticCacheV1 old = TacticCacheV1.below(root, Environment.of(Map.of("device", "old")));
    old.put(Entries.entry("a", 16, "t"));
    Files.write(cache.folder().resolve("x.json"), new byte[] {1});
    Path leftover = Files.createFile(cache.folder().resolve(".y.json.1-1.tmp"));
    CacheDirectory directory = new CacheDirectory(root);
    Instant now = Instant.now();

    ImmutableList<Path> first = directory.prune(folder -> false, Duration.ofHours(1), now);
    assertTrue(first.stream().anyMatch(path -> path.endsWith("damaged/x.json")), first::toString);
    assertTrue(Files.exists(leftover), "its writer may live");

    directory.prune(
        folder -> "old".equals(folder.environment().fields().get("device")),
        Duration.ofHours(1),
        now.plus(Duration.ofHours(2)));
    assertFalse(Files.exists(leftover));
    assertFalse(Files.exists(old.folder()));
    assertEquals(1, cache.load().size());
  }

  @Test
  void pruningLeavesALivingWriterAlone() throws IOException {
    cache.put(Entries.entry("a", 16, "t"));
    Path written = Files.createFile(cache.folder().resolve(".y.json.1-1.tmp"));
    Path leftover = Files.createFile(cache.folder().resolve(".z.json.1-1.tmp"));
    ImmutableList<Path> deleted =
        new CacheDirectory(root)
            .prune(
                folder -> {
                  // Between being listed and being looked at, it gets its final name.
                  assertTrue(written.toFile().renameTo(cache.folder().resolve("y").toFile()));
                  return false;
                },
                Duration.ofHours(1),
                Instant.now().plus(Duration.ofHours(2)));
    assertEquals(ImmutableList.of(leftover), deleted);
  }

  @Test
  void pruningDoesNotFollowLinks(@TempDir Path elsewhere) throws IOException {
    cache.put(Entries.entry("a", 16, "t"));
    Path kept = Files.createFile(elsewhere.resolve("kept"));
    Path damaged = Files.createDirectory(cache.folder().resolve("damaged"));
    Files.createSymbolicLink(damaged.resolve("link"), elsewhere);
    new CacheDirectory(root).prune(folder -> false, Duration.ofHours(1), Instant.now());
    assertTrue(Files.exists(kept));
    assertFalse(Files.exists(damaged));
  }

  private byte[] contents(TunedEntry entry) throws IOException {
    cache.put(entry);
    return Files.readAllBytes(cache.file(entry.key()));
  }

  private static byte[] text(byte[] bytes, String from, String to) {
    return new String(bytes, StandardCharsets.UTF_8)
        .replace(from, to)
        .getBytes(StandardCharsets.UTF_8);
  }

  private static Set<String> filesBelow(Path folder) throws IOException {
    try (Stream<Path> paths = Files.walk(folder)) {
      return paths
          .filter(Files::isRegularFile)
          .map(path -> folder.relativize(path).toString())
          .collect(Collectors.toSet());
    }
  }
}
