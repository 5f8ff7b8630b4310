package io.moe4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;

class CacheSelectionTest {

  @Test
  void theFolderIsTheStandardsOrBelowTheHomeOfTheShell() {
    assertEquals("/caches/moe4j", folder(Map.of("XDG_CACHE_HOME", "/caches", "HOME", "/h"), "/u"));
    assertEquals("/h/.cache/moe4j", folder(Map.of("XDG_CACHE_HOME", "caches", "HOME", "/h"), "/u"));
    assertEquals("/u/.cache/moe4j", folder(Map.of("XDG_CACHE_HOME", ""), "/u"));
  }

  @Test
  void aUserWithoutANameHasTheHomeOfTheShell() {
    assertEquals("/h/.cache/moe4j", folder(Map.of("HOME", "/h"), "?"));
  }

  private static String folder(Map<String, String> environment, String userHome) {
    return CacheSelection.defaultFolder(environment, Path.of(userHome)).toString();
  }
}
