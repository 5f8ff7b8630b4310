package io.moe4j.autotune.store;

import java.nio.file.Path;

/** A process that writes to a cache until it is killed, and says what it has finished. */
final class TacticCacheWriter {
  /** Keys of each family. */
  static final int KEYS = 40;

  private TacticCacheWriter() {}

  /** Arguments: the root folder and this writer's number. */
  public static void main(String[] arguments) {
    TacticCacheV1 cache = TacticCacheV1.below(Path.of(arguments[0]), Entries.HERE);
    // Nobody listens any more once the test is over.
    for (int i = 1; !System.out.checkError(); i++) {
      // Every other tuning is also every other writer's.
      String family = i % 2 == 0 ? "shared" : "writer" + arguments[1];
      int tokens = 1 + i % KEYS;
      cache.put(Entries.entry(family, tokens, Integer.toString(i)));
      System.out.println(family + " " + tokens + " " + i);
    }
  }
}
