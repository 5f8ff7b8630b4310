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
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Real processes, really killed. */
class TacticCacheProcessesTest {
  private static final int WRITERS = 16;
  private static final int READERS = 3;

  @TempDir private Path root;

  /** The last finished tuning of each key, by its writer's count. */
  private final Map<TuningKey, Integer> finished = new ConcurrentHashMap<>();

  private final CountDownLatch allWrite = new CountDownLatch(WRITERS);
  private final CountDownLatch allRead = new CountDownLatch(READERS);
  private final Queue<String> complaints = new ConcurrentLinkedQueue<>();
  private final List<Process> processes = new ArrayList<>();
  private final List<Thread> listeners = new ArrayList<>();

  @Test
  @Timeout(300)
  void sixteenKilledWritersLoseNothingAndNobodyReadsHalfAFile() throws Exception {
    try {
      for (int i = 0; i < WRITERS; i++) {
        start(TacticCacheWriter.class, allWrite, this::noteFinished, Integer.toString(i));
      }
      for (int i = 0; i < READERS; i++) {
        start(TacticCacheReader.class, allRead, this::noteComplaint);
      }
      assertTrue(allWrite.await(120, TimeUnit.SECONDS), "all writers write");
      assertTrue(allRead.await(120, TimeUnit.SECONDS), "all readers read");
      Random random = new Random(5);
      for (Process writer : processes.subList(0, WRITERS)) {
        Thread.sleep(random.nextInt(200));
        writer.destroyForcibly();
      }
    } finally {
      processes.forEach(Process::destroyForcibly);
    }
    for (Thread listener : listeners) {
      listener.join();
    }

    TacticCacheV1 after = TacticCacheV1.below(root, Entries.HERE);
    Map<TuningKey, Integer> stored = new HashMap<>();
    after.load().forEach(entry -> stored.put(entry.key(), Integer.valueOf(entry.tactic())));
    finished.forEach(
        (key, count) -> {
          assertTrue(stored.containsKey(key), () -> key + " was finished");
          boolean shared = key.family().attributes().get("name").equals("shared");
          assertTrue(
              shared || stored.get(key) >= count,
              () -> key + " was finished as " + count + " and is " + stored.get(key));
        });
    assertTrue(finished.size() >= WRITERS, () -> "only " + finished.size() + " were finished");
    assertEquals(List.of(), List.copyOf(complaints));
    assertEquals(ImmutableList.of(), after.takeDamage());
  }

  private void start(
      Class<?> main, CountDownLatch spoken, Consumer<String> hear, String... arguments)
      throws IOException {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx64m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                main.getName(),
                root.toString()));
    command.addAll(List.of(arguments));
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    processes.add(process);
    Thread listener = new Thread(() -> listen(process, spoken, hear));
    listener.start();
    listeners.add(listener);
  }

  private void noteFinished(String line) {
    List<String> parts = Splitter.on(' ').splitToList(line);
    finished.merge(
        Entries.key(parts.get(0), Long.parseLong(parts.get(1))),
        Integer.valueOf(parts.get(2)),
        Math::max);
  }

  private void noteComplaint(String line) {
    if (!line.matches("[0-9]+")) {
      complaints.add(line);
    }
  }

  /** Hears whole lines; the last one may be cut off by the kill. */
  private static void listen(Process process, CountDownLatch spoken, Consumer<String> hear) {
    boolean first = true;
    try (BufferedReader output =
        new BufferedReader(
            new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
      StringBuilder line = new StringBuilder();
      for (int c = output.read(); c >= 0; c = output.read()) {
        if (c != '\n') {
          line.append((char) c);
          continue;
        }
        hear.accept(line.toString());
        line.setLength(0);
        if (first) {
          spoken.countDown();
          first = false;
        }
      }
    } catch (IOException e) {
      // The pipe of a killed process may break.
      return;
    }
  }
}
