package io.moe4j.autotune.store;

import com.google.common.collect.ImmutableList;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/** The caches of all environments below one root folder: what is there, is it sound, can it go. */
public final class CacheDirectory {
  private final Path root;
  private final DurableFiles files = new DurableFiles();

  /**
   * One environment's cache.
   *
   * @param path its folder
   * @param environment what it is of; {@link Environment#UNKNOWN} fields where that is lost
   * @param entries its tunings
   * @param blocked its blocked tactics
   * @param damage what was found damaged, one sentence a file
   * @param leftovers files of killed writers
   */
  public record Folder(
      Path path,
      Environment environment,
      ImmutableList<TunedEntry> entries,
      ImmutableList<BlockedTactic> blocked,
      ImmutableList<String> damage,
      ImmutableList<Path> leftovers) {

    /** The folder's name, which is its environment's fingerprint. */
    public String name() {
      return path.getFileName().toString();
    }
  }

  /** A cache's root folder; it need not exist. */
  public CacheDirectory(Path root) {
    this.root = root;
  }

  /** Reads everything; damaged files are set aside on the way. */
  public ImmutableList<Folder> folders() {
    ImmutableList.Builder<Folder> folders = ImmutableList.builder();
    try (DirectoryStream<Path> paths =
        Files.newDirectoryStream(root.resolve(TacticCacheV1.VERSION_FOLDER), Files::isDirectory)) {
      List<Path> sorted = new ArrayList<>();
      paths.forEach(sorted::add);
      sorted.sort(null);
      for (Path path : sorted) {
        folders.add(folder(path));
      }
    } catch (NoSuchFileException e) {
      return ImmutableList.of();
    } catch (IOException e) {
      throw new StoreException("tactic cache " + root + " cannot be read: " + e, e);
    }
    return folders.build();
  }

  private Folder folder(Path path) throws IOException {
    Environment environment = environment(path);
    TacticCacheV1 cache = new TacticCacheV1(path, environment, files);
    ImmutableList<TunedEntry> entries = cache.load();
    ImmutableList<BlockedTactic> blocked = cache.loadBlocked();
    ImmutableList.Builder<Path> leftovers = ImmutableList.builder();
    for (Path written :
        List.of(
            path,
            path.resolve(TacticCacheV1.PROVISIONAL_FOLDER),
            path.resolve(TacticCacheV1.BLOCKED_FOLDER))) {
      leftovers.addAll(files.list(written, DurableFiles.TEMPORARY));
    }
    return new Folder(path, environment, entries, blocked, cache.takeDamage(), leftovers.build());
  }

  private static Environment environment(Path folder) {
    try {
      return JsonFormat.environment(
          JsonFormat.parse(
              Files.readAllBytes(folder.resolve(TacticCacheV1.ENVIRONMENT_FILE)),
              TacticCacheV1.ENVIRONMENT_FORMAT));
    } catch (IOException | JsonFormat.MalformedException e) {
      return Environment.of(Map.of());
    }
  }

  /**
   * Deletes what nobody needs: files that were set aside, leftovers of killed writers that are old
   * enough not to be of living ones, and whole environments.
   *
   * @param unwanted environments to delete, by their folders
   * @param leftoverAge a writer that takes longer is dead
   * @return the deleted files
   */
  public ImmutableList<Path> prune(Predicate<Folder> unwanted, Duration leftoverAge, Instant now) {
    ImmutableList.Builder<Path> deleted = ImmutableList.builder();
    try {
      for (Folder folder : folders()) {
        if (unwanted.test(folder)) {
          deleteTree(folder.path(), deleted);
          continue;
        }
        deleteTree(folder.path().resolve(TacticCacheV1.DAMAGED_FOLDER), deleted);
        for (Path leftover : folder.leftovers()) {
          if (isOlder(leftover, now.minus(leftoverAge)) && Files.deleteIfExists(leftover)) {
            deleted.add(leftover);
          }
        }
      }
    } catch (IOException e) {
      throw new StoreException("tactic cache " + root + " cannot be pruned: " + e, e);
    }
    return deleted.build();
  }

  /** A living writer's file gets its final name at any moment. */
  private static boolean isOlder(Path file, Instant time) throws IOException {
    try {
      return Files.getLastModifiedTime(file).toInstant().isBefore(time);
    } catch (NoSuchFileException e) {
      return false;
    }
  }

  /** Of a link, only itself. */
  private static void deleteTree(Path path, ImmutableList.Builder<Path> deleted)
      throws IOException {
    if (Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) {
      try (DirectoryStream<Path> children = Files.newDirectoryStream(path)) {
        for (Path child : children) {
          deleteTree(child, deleted);
        }
      }
    }
    if (Files.deleteIfExists(path)) {
      deleted.add(path);
    }
  }
}
