package io.moe4j.autotune.store;

import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.Iterables;
import com.google.common.hash.Hashing;
import io.moe4j.MoeException;
import io.moe4j.autotune.profile.TuningKey;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.stream.Stream;

/**
 * Tunings of one environment in a folder, one file each:
 *
 * <pre>
 *   ROOT/v1/DEVICE-HASH/environment.json       what the hash is of
 *                       HASH.json              one finished tuning, named after its key
 *                       provisional/HASH.json  one that was cut short, or is a by-product
 *                       blocked/HASH.json      one blocked tactic
 *                       damaged/...            files that could not be read, set aside
 * </pre>
 *
 * <p>Any number of processes may read and write at once and be killed at any moment: a file is
 * written under another name, synced and renamed, no file is ever shared between two keys, and a
 * provisional tuning, however late it comes, takes no finished one's place: there is nothing to
 * lock and nothing to lose. Safe from any thread.
 *
 * <p>Earlier versions have provisional tunings beside finished ones, where they are read still, and
 * do not look for them elsewhere: they measure those buckets again.
 */
public final class TacticCacheV1 {
  static final String VERSION_FOLDER = "v1";
  static final String ENTRY_FORMAT = "moe4j-tactic-1";
  static final String BLOCKED_FORMAT = "moe4j-blocked-1";
  static final String ENVIRONMENT_FORMAT = "moe4j-environment-1";
  static final String ENVIRONMENT_FILE = "environment.json";
  static final String PROVISIONAL_FOLDER = "provisional";
  static final String BLOCKED_FOLDER = "blocked";
  static final String DAMAGED_FOLDER = "damaged";
  private static final String SUFFIX = ".json";

  private final Path folder;
  private final Environment environment;
  private final DurableFiles files;
  private final ConcurrentLinkedQueue<String> damage = new ConcurrentLinkedQueue<>();

  /** The cache of an environment below a root folder, which the first tuning creates. */
  public static TacticCacheV1 below(Path root, Environment environment) {
    return below(root, environment, new DurableFiles());
  }

  static TacticCacheV1 below(Path root, Environment environment, DurableFiles files) {
    Path folder = root.resolve(VERSION_FOLDER).resolve(environment.fingerprint());
    return new TacticCacheV1(folder, environment, files);
  }

  TacticCacheV1(Path folder, Environment environment, DurableFiles files) {
    this.folder = folder;
    this.environment = environment;
    this.files = files;
  }

  /** Where this environment's files are. */
  public Path folder() {
    return folder;
  }

  /** The file of a key's finished tuning. */
  public Path file(TuningKey key) {
    return folder.resolve(key.hash() + SUFFIX);
  }

  private Path provisionalFile(TuningKey key) {
    return folder.resolve(PROVISIONAL_FOLDER).resolve(key.hash() + SUFFIX);
  }

  /**
   * Keeps a tuning. When this returns, it is on the disk.
   *
   * @throws StoreException if that fails; an earlier tuning of the key stays as it was
   */
  public void put(TunedEntry entry) {
    ObjectNode document = JsonFormat.document(ENTRY_FORMAT).put("key", entry.key().toString());
    JsonFormat.put(document, entry);
    write(entry.complete() ? file(entry.key()) : provisionalFile(entry.key()), document);
  }

  /** Keeps a tactic from being run again, in this process's successors too. */
  public void block(BlockedTactic tactic) {
    String name = tactic.operation() + " " + tactic.runner() + " " + tactic.tactic();
    String hash =
        Hashing.sha256().hashString(name, StandardCharsets.UTF_8).toString().substring(0, 32);
    ObjectNode document =
        JsonFormat.document(BLOCKED_FORMAT)
            .put("operation", tactic.operation())
            .put("runner", tactic.runner())
            .put("tactic", tactic.tactic())
            .put("reason", tactic.reason());
    write(folder.resolve(BLOCKED_FOLDER).resolve(hash + SUFFIX), document);
  }

  private void write(Path file, ObjectNode document) {
    try {
      describeFolder();
      files.replace(file, JsonFormat.sealedBytes(document));
    } catch (IOException e) {
      throw new StoreException("tactic cache " + file + " cannot be written: " + e, e);
    }
  }

  /** Says what the folder's name is a hash of, also where a damaged file said it before. */
  private void describeFolder() throws IOException {
    Path file = folder.resolve(ENVIRONMENT_FILE);
    ObjectNode document = JsonFormat.document(ENVIRONMENT_FORMAT);
    JsonFormat.put(document, environment);
    byte[] description = JsonFormat.bytes(document);
    if (!Files.exists(file) || !Arrays.equals(Files.readAllBytes(file), description)) {
      files.replace(file, description);
    }
  }

  /** The tuning of a key, the better one if there is a provisional one too. */
  public Optional<TunedEntry> get(TuningKey key) {
    return Stream.of(file(key), provisionalFile(key))
        .flatMap(file -> read(file).stream())
        .filter(entry -> entry.key().equals(key))
        .reduce(TacticCacheV1::better);
  }

  /**
   * All tunings that can be read, one a key.
   *
   * @throws StoreException if the folder itself cannot
   */
  public ImmutableList<TunedEntry> load() {
    Map<TuningKey, TunedEntry> entries = new LinkedHashMap<>();
    for (Path file : Iterables.concat(list(folder), list(folder.resolve(PROVISIONAL_FOLDER)))) {
      if (!file.getFileName().toString().equals(ENVIRONMENT_FILE)) {
        read(file).ifPresent(entry -> entries.merge(entry.key(), entry, TacticCacheV1::better));
      }
    }
    return ImmutableList.copyOf(entries.values());
  }

  private static TunedEntry better(TunedEntry known, TunedEntry other) {
    return other.improves(Optional.of(known)) ? other : known;
  }

  /** All blocked tactics that can be read. */
  public ImmutableList<BlockedTactic> loadBlocked() {
    ImmutableList.Builder<BlockedTactic> tactics = ImmutableList.builder();
    for (Path file : list(folder.resolve(BLOCKED_FOLDER))) {
      readBlocked(file).ifPresent(tactics::add);
    }
    return tactics.build();
  }

  private Iterable<Path> list(Path directory) {
    try {
      return files.list(directory, SUFFIX);
    } catch (IOException e) {
      throw new StoreException("tactic cache " + directory + " cannot be read: " + e, e);
    }
  }

  private Optional<TunedEntry> read(Path file) {
    try {
      ObjectNode document = JsonFormat.parseSealed(Files.readAllBytes(file), ENTRY_FORMAT);
      TuningKey key = TuningKey.parse(JsonFormat.text(document, "key"));
      return Optional.of(JsonFormat.entry(key, document));
    } catch (NoSuchFileException e) {
      return Optional.empty();
    } catch (IOException e) {
      damage.add(file + " cannot be read: " + e);
      return Optional.empty();
    } catch (JsonFormat.MalformedException | MoeException e) {
      setAside(file, e.getMessage());
      return Optional.empty();
    }
  }

  private Optional<BlockedTactic> readBlocked(Path file) {
    try {
      ObjectNode document = JsonFormat.parseSealed(Files.readAllBytes(file), BLOCKED_FORMAT);
      return Optional.of(
          new BlockedTactic(
              JsonFormat.text(document, "operation"),
              JsonFormat.text(document, "runner"),
              JsonFormat.text(document, "tactic"),
              JsonFormat.text(document, "reason")));
    } catch (NoSuchFileException e) {
      return Optional.empty();
    } catch (IOException e) {
      damage.add(file + " cannot be read: " + e);
      return Optional.empty();
    } catch (JsonFormat.MalformedException e) {
      setAside(file, e.getMessage());
      return Optional.empty();
    }
  }

  /**
   * Moves a file out of the way, so that a new tuning can take its place and it can be looked at.
   */
  private void setAside(Path file, String what) {
    Path target = folder.resolve(DAMAGED_FOLDER).resolve(file.getFileName());
    try {
      Files.createDirectories(target.getParent());
      Files.move(file, target, StandardCopyOption.REPLACE_EXISTING);
      damage.add(file + " " + what + "; moved to " + target);
    } catch (NoSuchFileException e) {
      damage.add(file + " " + what + "; set aside by another process");
    } catch (IOException e) {
      damage.add(file + " " + what + "; left in place: " + e);
    }
  }

  /** What was found damaged since the last call, one sentence a file. */
  public ImmutableList<String> takeDamage() {
    ImmutableList.Builder<String> taken = ImmutableList.builder();
    for (String next = damage.poll(); next != null; next = damage.poll()) {
      taken.add(next);
    }
    return taken.build();
  }
}
