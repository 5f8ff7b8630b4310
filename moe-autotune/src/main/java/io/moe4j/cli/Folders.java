package io.moe4j.cli;

import io.moe4j.MoeException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Finds out before the work what would be found after it. */
final class Folders {
  private Folders() {}

  /**
   * Refuses a file that cannot be written because its folder is not there.
   *
   * @param option what named the file
   */
  static void check(String option, Path file) {
    Path folder = file.toAbsolutePath().getParent();
    if (folder == null || !Files.isDirectory(folder)) {
      throw new MoeException(folder + ": no such folder for " + option);
    }
  }
}
