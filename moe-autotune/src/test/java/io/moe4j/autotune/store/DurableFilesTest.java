package io.moe4j.autotune.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.base.Splitter;
import java.io.File;
import java.io.IOException;
import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DurableFilesTest {
  @TempDir private Path folder;

  /** As in two containers with one volume, where each process is the first of its own. */
  @Test
  void writersWithTheSameProcessIdDoNotDisturbEachOther() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(2);
    try (URLClassLoader one = newLoader();
        URLClassLoader other = newLoader()) {
      for (Future<Void> writer : pool.invokeAll(List.of(writer(one), writer(other)))) {
        writer.get();
      }
    }
    pool.shutdown();
    assertEquals(List.of(folder.resolve("tuning.json")), new DurableFiles().list(folder, ""));
  }

  /** As a thread does that was interrupted while it tuned. */
  @Test
  void anInterruptedThreadWrites() throws IOException {
    Path file = folder.resolve("tuning.json");
    Thread.currentThread().interrupt();
    try {
      new DurableFiles().replace(file, new byte[] {1, 2, 3});
      assertTrue(Thread.currentThread().isInterrupted());
    } finally {
      Thread.interrupted();
    }
    assertArrayEquals(new byte[] {1, 2, 3}, Files.readAllBytes(file));
  }

  private Callable<Void> writer(ClassLoader loader) throws ReflectiveOperationException {
    Class<?> files = loader.loadClass(DurableFiles.class.getName());
    Constructor<?> constructor = files.getDeclaredConstructor();
    Method replace = files.getDeclaredMethod("replace", Path.class, byte[].class);
    constructor.setAccessible(true);
    replace.setAccessible(true);
    return () -> {
      for (int i = 0; i < 200; i++) {
        replace.invoke(constructor.newInstance(), folder.resolve("tuning.json"), new byte[100]);
      }
      return null;
    };
  }

  /** The classes once more, with statics of their own. */
  private static URLClassLoader newLoader() throws Exception {
    List<URL> path = new ArrayList<>();
    for (String entry :
        Splitter.on(File.pathSeparatorChar).split(System.getProperty("java.class.path"))) {
      path.add(Path.of(entry).toUri().toURL());
    }
    return new URLClassLoader(path.toArray(URL[]::new), ClassLoader.getPlatformClassLoader());
  }
}
