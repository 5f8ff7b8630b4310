package io.moe4j.cli;

import java.nio.file.Path;
import java.util.Map;
import picocli.CommandLine.Option;

/** Where tunings are kept from one command to the next. */
final class CacheSelection {
  @Option(
      names = "--cache",
      paramLabel = "DIR",
      description =
          "Folder of tunings (default: moe4j in $XDG_CACHE_HOME or, without that, in ~/.cache).")
  private Path folder = defaultFolder(System.getenv(), Path.of(System.getProperty("user.home")));

  static Path defaultFolder(Map<String, String> environment, Path home) {
    String caches = environment.getOrDefault("XDG_CACHE_HOME", "");
    // Relative values are to be ignored, says the standard that defines the variable.
    Path root = caches.startsWith("/") ? Path.of(caches) : home.resolve(".cache");
    return root.resolve("moe4j");
  }

  /** The folder; it need not exist. */
  Path folder() {
    return folder;
  }
}
