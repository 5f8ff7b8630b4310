package io.moe4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Resources that end when they should. */
class LifetimeTest {
  @Test
  void anOwnerClosesLastFirstAndEverything() {
    List<String> closed = new ArrayList<>();
    Owner owner = new Owner();
    owner.own("a", () -> closed.add("a"));
    owner.own(
        "b",
        () -> {
          throw new IllegalStateException("b");
        });
    owner.own(
        "c",
        () -> {
          throw new IllegalStateException("c");
        });
    IllegalStateException e = assertThrows(IllegalStateException.class, owner::close);
    assertEquals("c", e.getMessage());
    assertEquals("b", e.getSuppressed()[0].getMessage());
    assertEquals(List.of("a"), closed);
    owner.close();
    assertEquals(List.of("a"), closed);
  }

  @Test
  void aTemporaryFolderGoesWithItsFiles() throws Exception {
    Path path;
    try (TemporaryFolder folder = TemporaryFolder.create("moe4j-test-")) {
      path = folder.path();
      Files.writeString(path.resolve("file"), "text");
      assertTrue(Files.isDirectory(path));
    }
    assertFalse(Files.exists(path));
  }
}
