package io.moe4j.autotune.store;

import java.nio.file.Path;

/** A process that writes to a cache until it is killed, and says what it has finished. */
final class TacticCacheWriter {
  private TacticCacheWriter() {}

  /** Arguments: the root folder and this writer's number. */
  public static void main(String[] arguments) {
    TacticCacheV1 cache = TacticCacheV1.below(Path.of(arguments[0]), Entries.HERE);
    // Nobody listens any more once the test is over.
    for (int i = 1; !System.out.checkError(); i++) {
      // Every other tuning is also every other writer's.
      String family = i % 2 == 0 ? "shared" : "writer" + arguments[1];
      cache.put(Entries.entry(family, 1 + i % 40, "tactic" + i));
      System.out.println(family + " " + (1 + i % 40));
    }
  }
}
