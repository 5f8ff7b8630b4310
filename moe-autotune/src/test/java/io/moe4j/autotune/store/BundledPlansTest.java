package io.moe4j.autotune.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.base.Splitter;
import com.google.common.collect.ImmutableList;
import java.io.File;
import java.io.IOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BundledPlansTest {
  @TempDir private Path jar;

  private final ClassLoader before = Thread.currentThread().getContextClassLoader();
  private final List<String> trouble = new ArrayList<>();

  @AfterEach
  void restore() {
    Thread.currentThread().setContextClassLoader(before);
  }

  @Test
  void plansThatAnIndexNamesAreFound() throws IOException {
    Plan plan = Plan.of(Entries.HERE, List.of(Entries.entry("a", 1, "x")));
    plan.save(jar.resolve("META-INF/moe4j/h100/gpt.json"));
    assertEquals(ImmutableList.of(plan), load("h100/gpt.json\n\n"));
    assertEquals(List.of(), trouble);
  }

  @Test
  void whatCannotBeReadIsSaidAndTheRestIsRead() throws IOException {
    Plan plan = Plan.of(Entries.HERE, List.of(Entries.entry("a", 1, "x")));
    plan.save(jar.resolve("META-INF/moe4j/good.json"));
    Files.writeString(jar.resolve("META-INF/moe4j/bad.json"), "nonsense");
    assertEquals(ImmutableList.of(plan), load("bad.json\nmissing.json\ngood.json"));
    assertEquals(2, trouble.size(), trouble::toString);
    assertTrue(trouble.get(0).contains("bad.json"), trouble::toString);
    assertTrue(trouble.get(1).contains("missing.json"), trouble::toString);
  }

  /** As in a pool of a server whose threads do not have the application's loader. */
  @Test
  void aThreadsClassLoaderNeedNotSeeThem() throws Exception {
    Plan.of(Entries.HERE, List.of(Entries.entry("a", 1, "x")))
        .save(jar.resolve("META-INF/moe4j/good.json"));
    Files.writeString(jar.resolve(BundledPlans.INDEX), "good.json");
    List<URL> application = new ArrayList<>(List.of(jar.toUri().toURL()));
    for (String entry :
        Splitter.on(File.pathSeparatorChar).split(System.getProperty("java.class.path"))) {
      application.add(Path.of(entry).toUri().toURL());
    }
    ClassLoader platform = ClassLoader.getPlatformClassLoader();
    try (URLClassLoader loader = new URLClassLoader(application.toArray(URL[]::new), platform)) {
      Thread.currentThread().setContextClassLoader(platform);
      Consumer<String> told = trouble::add;
      Object plans =
          loader
              .loadClass(BundledPlans.class.getName())
              .getMethod("load", Consumer.class)
              .invoke(null, told);
      assertEquals(1, ((List<?>) plans).size());
    }
  }

  private ImmutableList<Plan> load(String index) throws IOException {
    Path file = jar.resolve(BundledPlans.INDEX);
    Files.createDirectories(file.getParent());
    Files.writeString(file, index);
    try (URLClassLoader loader = new URLClassLoader(new URL[] {jar.toUri().toURL()}, null)) {
      Thread.currentThread().setContextClassLoader(loader);
      return BundledPlans.load(trouble::add);
    }
  }
}
