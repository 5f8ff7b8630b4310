package io.moe4j.autotune.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.base.Splitter;
import com.google.common.collect.ImmutableList;
import io.moe4j.autotune.profile.TuningKey;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Real processes, really killed. */
class TacticCacheProcessesTest {
  private static final int WRITERS = 16;

  @TempDir private Path root;

  private final Set<TuningKey> finished = ConcurrentHashMap.newKeySet();
  private final CountDownLatch allWrite = new CountDownLatch(WRITERS);

  @Test
  @Timeout(90)
  void sixteenKilledWritersLoseNothingAndNobodyReadsHalfAFile() throws Exception {
    List<Process> writers = new ArrayList<>();
    List<Thread> listeners = new ArrayList<>();
    AtomicBoolean reading = new AtomicBoolean(true);
    TacticCacheV1 cache = TacticCacheV1.below(root, Entries.HERE);
    List<Integer> sizes = new ArrayList<>();
    Thread reader =
        new Thread(
            () -> {
              while (reading.get()) {
                sizes.add(cache.load().size());
              }
            });
    try {
      for (int i = 0; i < WRITERS; i++) {
        Process writer = start(i);
        writers.add(writer);
        Thread listener = new Thread(() -> listen(writer));
        listener.start();
        listeners.add(listener);
      }
      reader.start();
      assertTrue(allWrite.await(60, TimeUnit.SECONDS), "all writers write");
      Random random = new Random(5);
      for (Process writer : writers) {
        Thread.sleep(random.nextInt(200));
        writer.destroyForcibly();
      }
    } finally {
      writers.forEach(Process::destroyForcibly);
      reading.set(false);
      reader.join();
    }
    for (Thread listener : listeners) {
      listener.join();
    }

    TacticCacheV1 after = TacticCacheV1.below(root, Entries.HERE);
    Set<TuningKey> stored = ConcurrentHashMap.newKeySet();
    after.load().forEach(entry -> stored.add(entry.key()));
    finished.forEach(key -> assertTrue(stored.contains(key), () -> key + " was finished"));
    assertTrue(finished.size() >= WRITERS, () -> "only " + finished.size() + " were finished");
    assertTrue(sizes.size() > 1, "somebody read meanwhile");
    assertEquals(ImmutableList.of(), cache.takeDamage());
    assertEquals(ImmutableList.of(), after.takeDamage());
  }

  private Process start(int number) throws IOException {
    return new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xmx64m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            System.getProperty("java.class.path"),
            TacticCacheWriter.class.getName(),
            root.toString(),
            Integer.toString(number))
        .redirectError(ProcessBuilder.Redirect.INHERIT)
        .start();
  }

  /** Notes what a writer says it has finished; its last line may be cut off by the kill. */
  private void listen(Process writer) {
    boolean first = true;
    try (BufferedReader output =
        new BufferedReader(
            new InputStreamReader(writer.getInputStream(), StandardCharsets.UTF_8))) {
      StringBuilder line = new StringBuilder();
      for (int c = output.read(); c >= 0; c = output.read()) {
        if (c != '\n') {
          line.append((char) c);
          continue;
        }
        List<String> parts = Splitter.on(' ').splitToList(line);
        finished.add(Entries.key(parts.get(0), Long.parseLong(parts.get(1))));
        line.setLength(0);
        if (first) {
          allWrite.countDown();
          first = false;
        }
      }
    } catch (IOException e) {
      // The pipe of a killed process may break.
      return;
    }
  }
}
