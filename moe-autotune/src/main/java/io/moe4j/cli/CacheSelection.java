package io.moe4j.cli;

import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Option;

/** Where tunings are kept from one command to the next. */
final class CacheSelection {
  @Option(
      names = "--cache",
      paramLabel = "DIR",
      description =
          "Folder of tunings (default: moe4j in $XDG_CACHE_HOME or, without that, in ~/.cache).")
  private Path folder = defaultFolder(System.getenv(), Path.of(System.getProperty("user.home")));

  /**
   * @param userHome for where $HOME is not set; "?" for a user without a name, as containers have
   */
  static Path defaultFolder(Map<String, String> environment, Path userHome) {
    // Relative values are to be ignored, says the standard that defines the variable.
    Path home = absolute(environment.get("HOME")).orElse(userHome);
    return absolute(environment.get("XDG_CACHE_HOME"))
        .orElse(home.resolve(".cache"))
        .resolve("moe4j");
  }

  private static Optional<Path> absolute(String path) {
    return Optional.ofNullable(path).map(Path::of).filter(Path::isAbsolute);
  }

  /** The folder; it need not exist. */
  Path folder() {
    return folder;
  }
}
