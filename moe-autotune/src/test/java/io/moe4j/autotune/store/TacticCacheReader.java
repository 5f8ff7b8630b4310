package io.moe4j.autotune.store;

import com.google.common.collect.ImmutableList;
import java.nio.file.Path;

/**
 * A process that reads a cache until it is killed: says how many tunings it finds each time, and
 * whatever no reader may ever see.
 */
final class TacticCacheReader {
  private TacticCacheReader() {}

  /** Argument: the root folder. */
  public static void main(String[] arguments) {
    TacticCacheV1 cache = TacticCacheV1.below(Path.of(arguments[0]), Entries.HERE);
    int before = 0;
    while (!System.out.checkError()) {
      ImmutableList<TunedEntry> entries = cache.load();
      for (TunedEntry entry : entries) {
        int written = Integer.parseInt(entry.tactic());
        if (entry.key().tokens() != 1 + written % TacticCacheWriter.KEYS) {
          System.out.println("mixed up: " + entry);
        }
      }
      cache.takeDamage().forEach(damage -> System.out.println("damaged: " + damage));
      if (entries.size() < before) {
        System.out.println("lost: " + before + " before, " + entries.size() + " now");
      }
      before = entries.size();
      System.out.println(before);
    }
  }
}
