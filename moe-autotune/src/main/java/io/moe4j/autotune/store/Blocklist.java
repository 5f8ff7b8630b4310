package io.moe4j.autotune.store;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.collect.ImmutableList;
import io.moe4j.autotune.search.BucketResult;
import io.moe4j.autotune.search.TacticFilter;
import io.moe4j.autotune.search.TacticTiming;
import io.moe4j.autotune.store.Environment.Mismatch;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;

/**
 * Tactics that must not be run, each with what it did. What is not listed passes: a new tactic is
 * innocent. Safe from any thread.
 */
public final class Blocklist implements TacticFilter {
  private static final String FORMAT = "moe4j-blocklist-1";

  private final ConcurrentMap<Name, BlockedTactic> blocked = new ConcurrentHashMap<>();
  private final Runnable onAdded;

  private record Name(String operation, String runner, String tactic) {}

  /** An empty list. */
  public Blocklist() {
    this(() -> {});
  }

  /** An empty list that runs something whenever a tactic was added, in the thread that added it. */
  public Blocklist(Runnable onAdded) {
    this.onAdded = onAdded;
  }

  /** The defective tactics of finished searches. */
  public static Blocklist generate(Iterable<BucketResult> results) {
    Blocklist list = new Blocklist();
    for (BucketResult result : results) {
      for (TacticTiming timing : result.timings()) {
        if (timing.outcome().isDefect()) {
          list.add(
              new BlockedTactic(
                  result.key().family().operation(),
                  timing.runner(),
                  timing.tactic(),
                  timing.detail() + " (" + result.key().tokens() + " tokens)"));
        }
      }
    }
    return list;
  }

  /** Adds a tactic; the first reason stays. True if it was not there. */
  public boolean add(BlockedTactic tactic) {
    Name name = new Name(tactic.operation(), tactic.runner(), tactic.tactic());
    boolean added = blocked.putIfAbsent(name, tactic) == null;
    if (added) {
      onAdded.run();
    }
    return added;
  }

  @Override
  public Optional<String> reasonAgainst(String operation, String runner, String tactic) {
    return Optional.ofNullable(blocked.get(new Name(operation, runner, tactic)))
        .map(BlockedTactic::reason);
  }

  /** All tactics, in the order of their names. */
  public ImmutableList<BlockedTactic> tactics() {
    return blocked.values().stream()
        .sorted(
            Comparator.comparing(BlockedTactic::operation)
                .thenComparing(BlockedTactic::runner)
                .thenComparing(BlockedTactic::tactic))
        .collect(ImmutableList.toImmutableList());
  }

  /**
   * Adds the tactics of a file, if it is of this environment; a file that does not name one is of
   * every environment.
   *
   * @return what keeps the file out; empty if it was added
   * @throws StoreException if the file cannot be read
   */
  public ImmutableList<Mismatch> load(Path file, Environment here) {
    ObjectNode document;
    List<BlockedTactic> tactics = new ArrayList<>();
    try {
      document = JsonFormat.parse(Files.readAllBytes(file), FORMAT);
      for (JsonNode node : document.path("tactics")) {
        tactics.add(
            new BlockedTactic(
                JsonFormat.text(node, "operation"),
                JsonFormat.text(node, "runner"),
                JsonFormat.text(node, "tactic"),
                node.path("reason").asText("")));
      }
    } catch (IOException e) {
      throw new StoreException("blocklist " + file + " cannot be read: " + e, e);
    } catch (JsonFormat.MalformedException e) {
      throw new StoreException("blocklist " + file + " " + e.getMessage(), e);
    }
    ImmutableList<Mismatch> mismatches =
        document.has("environment")
            ? JsonFormat.environment(document).mismatches(here)
            : ImmutableList.of();
    if (mismatches.isEmpty()) {
      tactics.forEach(this::add);
    }
    return mismatches;
  }

  /**
   * Writes all tactics to a file, in one step.
   *
   * @throws StoreException if that fails; an existing file stays as it was
   */
  public void save(Path file, Environment environment) {
    ObjectNode document = JsonFormat.document(FORMAT);
    JsonFormat.put(document, environment);
    ArrayNode nodes = document.putArray("tactics");
    for (BlockedTactic tactic : tactics()) {
      nodes
          .addObject()
          .put("operation", tactic.operation())
          .put("runner", tactic.runner())
          .put("tactic", tactic.tactic())
          .put("reason", tactic.reason());
    }
    try {
      new DurableFiles().replace(file, JsonFormat.bytes(document));
    } catch (IOException e) {
      throw new StoreException("blocklist " + file + " cannot be written: " + e, e);
    }
  }
}
