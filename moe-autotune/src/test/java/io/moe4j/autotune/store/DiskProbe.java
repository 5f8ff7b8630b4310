package io.moe4j.autotune.store;

import com.google.common.collect.ImmutableList;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** A process that finds out what a cache does on the disk that it is given. */
final class DiskProbe {
  private DiskProbe() {}

  /**
   * Arguments: "fill", "write" or "read", and a root folder. Says what was written before a
   * failure, the failure, and what is there afterwards.
   */
  public static void main(String[] arguments) throws IOException {
    Path root = Path.of(arguments[1]);
    TacticCacheV1 cache = TacticCacheV1.below(root, Entries.HERE);
    switch (arguments[0]) {
      case "fill" -> fill(cache, 1_000_000);
      case "write" -> {
        fill(cache, 3);
        Files.write(cache.folder().resolve("0.json"), new byte[] {1});
        return;
      }
      default -> fill(cache, 1);
    }
    ImmutableList<TunedEntry> entries = cache.load();
    System.out.println("readable: " + entries.size());
    cache.takeDamage().forEach(damage -> System.out.println("damaged: " + damage));
    try (Stream<Path> files = Files.walk(root)) {
      System.out.println(
          "leftovers: " + files.filter(file -> file.toString().endsWith(".tmp")).count());
    }
  }

  private static void fill(TacticCacheV1 cache, int count) {
    for (int written = 0; written < count; written++) {
      try {
        cache.put(Entries.entry("a", 1 + written, "t"));
      } catch (StoreException e) {
        System.out.println("written: " + written);
        System.out.println("failure: " + e.getMessage());
        return;
      }
    }
  }
}
