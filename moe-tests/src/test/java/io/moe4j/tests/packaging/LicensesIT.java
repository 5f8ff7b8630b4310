package io.moe4j.tests.packaging;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Jars that carry native libraries carry the terms of each of them. */
class LicensesIT {

  @ParameterizedTest
  @ValueSource(strings = {"../moe-native/target", "../moe-autotune/target"})
  void librariesComeWithTheirTerms(Path folder) throws IOException {
    assumeTrue(Files.isDirectory(folder), "NOT TESTED: no jars in " + folder);
    List<String> missing = new ArrayList<>();
    try (var jars = Files.newDirectoryStream(folder, "*.jar")) {
      for (Path jar : jars) {
        List<String> entries = entries(jar);
        if (carries(entries, ".so")) {
          require(jar, entries, "META-INF/LICENSE", missing);
        }
        if (carries(entries, "libcudart.so")) {
          require(jar, entries, "META-INF/CUDA-NOTICE.txt", missing);
        }
      }
    }
    assertEquals(List.of(), missing);
  }

  private static List<String> entries(Path jar) throws IOException {
    try (ZipFile zip = new ZipFile(jar.toFile())) {
      return zip.stream().map(ZipEntry::getName).toList();
    }
  }

  private static boolean carries(List<String> entries, String library) {
    return entries.stream().anyMatch(entry -> entry.contains(library));
  }

  private static void require(Path jar, List<String> entries, String text, List<String> missing) {
    if (!entries.contains(text)) {
      missing.add(text + " in " + jar);
    }
  }
}
