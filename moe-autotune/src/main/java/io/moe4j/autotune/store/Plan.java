package io.moe4j.autotune.store;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSortedMap;
import com.google.common.collect.Ordering;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeException;
import io.moe4j.autotune.profile.TuningFamily;
import io.moe4j.autotune.profile.TuningKey;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;

/**
 * Tunings in one readable file, to be shipped with a model or handed from one expert-parallel rank
 * to the others. Immutable.
 *
 * @param environment where they were measured; fields edited to {@link Environment#ANY} are not
 *     compared
 * @param entries tunings by key
 */
public record Plan(Environment environment, ImmutableSortedMap<TuningKey, TunedEntry> entries) {
  private static final String FORMAT = "moe4j-plan-1";

  /** A plan of these tunings; of two with one key the later one stays. */
  public static Plan of(Environment environment, Iterable<TunedEntry> entries) {
    TreeMap<TuningKey, TunedEntry> byKey = new TreeMap<>();
    entries.forEach(entry -> byKey.put(entry.key(), entry));
    return new Plan(environment, ImmutableSortedMap.copyOf(byKey));
  }

  // ---- files

  /**
   * Reads a plan's file.
   *
   * @throws StoreException if it cannot be read or is no plan
   */
  public static Plan load(Path file) {
    try {
      return parse(Files.readAllBytes(file), file.toString());
    } catch (IOException e) {
      throw new StoreException("plan " + file + " cannot be read: " + e, e);
    }
  }

  /**
   * Reads a plan.
   *
   * @param source where it is from, for messages
   */
  public static Plan parse(byte[] bytes, String source) {
    try {
      ObjectNode document = JsonFormat.parse(bytes, FORMAT);
      ImmutableList.Builder<TunedEntry> entries = ImmutableList.builder();
      for (JsonNode family : document.path("families")) {
        TuningFamily key =
            new TuningFamily(
                JsonFormat.text(family, "operation"), JsonFormat.texts(family.path("attributes")));
        for (JsonNode node : family.path("tactics")) {
          long tokens = JsonFormat.number(node, "tokens").longValue();
          entries.add(JsonFormat.entry(new TuningKey(key, tokens), node));
        }
      }
      return of(JsonFormat.environment(document), entries.build());
    } catch (JsonFormat.MalformedException | MoeException e) {
      throw new StoreException("plan " + source + " " + e.getMessage(), e);
    }
  }

  /**
   * Writes the plan to a file, in one step.
   *
   * @throws StoreException if that fails; an existing file stays as it was
   */
  public void save(Path file) {
    try {
      new DurableFiles().replace(file, toJson());
    } catch (IOException e) {
      throw new StoreException("plan " + file + " cannot be written: " + e, e);
    }
  }

  /** The text of the file. */
  public byte[] toJson() {
    ObjectNode document = JsonFormat.document(FORMAT);
    JsonFormat.put(document, environment);
    ArrayNode families = document.putArray("families");
    families()
        .forEach(
            (family, tunings) -> {
              ObjectNode node = families.addObject().put("operation", family.operation());
              JsonFormat.putAll(node.putObject("attributes"), family.attributes());
              ArrayNode tactics = node.putArray("tactics");
              tunings.forEach(
                  entry ->
                      JsonFormat.put(
                          tactics.addObject().put("tokens", entry.key().tokens()), entry));
            });
    return JsonFormat.bytes(document);
  }

  private Map<TuningFamily, ImmutableList<TunedEntry>> families() {
    Map<TuningFamily, ImmutableList.Builder<TunedEntry>> families = new LinkedHashMap<>();
    entries
        .values()
        .forEach(
            entry ->
                families
                    .computeIfAbsent(entry.key().family(), key -> ImmutableList.builder())
                    .add(entry));
    Map<TuningFamily, ImmutableList<TunedEntry>> built = new LinkedHashMap<>();
    families.forEach((family, builder) -> built.put(family, builder.build()));
    return built;
  }

  /** The plan for people: each family with its tactics, times and gains. */
  public String toText() {
    StringBuilder text = new StringBuilder("environment");
    environment
        .fields()
        .forEach((field, value) -> text.append(' ').append(field).append('=').append(value));
    text.append('\n');
    families()
        .forEach(
            (family, tunings) -> {
              text.append('\n').append(family.operation());
              family
                  .attributes()
                  .forEach(
                      (name, value) -> text.append(' ').append(name).append('=').append(value));
              text.append('\n');
              int width =
                  tunings.stream().mapToInt(entry -> entry.tactic().length()).max().orElse(0);
              line(text, width, "tokens", "serves", "tactic", "us", "default us", "speed-up");
              for (TunedEntry entry : tunings) {
                line(
                    text,
                    width,
                    Long.toString(entry.key().tokens()),
                    entry.serves().toString(),
                    entry.tactic(),
                    micros(entry.nanos()),
                    micros(entry.defaultNanos()),
                    String.format(
                        Locale.ROOT,
                        "%.2f%s",
                        entry.speedup(),
                        entry.complete() ? "" : " (provisional)"));
              }
            });
    return text.toString();
  }

  private static void line(StringBuilder text, int tacticWidth, String... cells) {
    text.append(
        String.format(
            Locale.ROOT,
            "  %8s  %13s  %-" + Math.max(6, tacticWidth) + "s  %10s  %10s  %s%n",
            (Object[]) cells));
  }

  private static String micros(long nanos) {
    return String.format(Locale.ROOT, "%.1f", nanos / 1e3);
  }

  // ---- two plans

  /**
   * Both plans' tunings.
   *
   * @param plan the merged plan
   * @param conflicts keys with another tactic in each; the second plan's stayed, unless it alone is
   *     provisional
   */
  public record Merged(Plan plan, ImmutableList<TuningKey> conflicts) {}

  /** Merges a second plan into this one. Refused where they are of different environments. */
  public Merged merge(Plan second) {
    ImmutableList<Environment.Mismatch> mismatches = second.environment.mismatches(environment);
    if (!mismatches.isEmpty()) {
      throw new InvalidArgumentException(
          "second",
          "a plan whose " + mismatches.get(0).field() + " is " + mismatches.get(0).stored(),
          "one of " + mismatches.get(0).here());
    }
    TreeMap<TuningKey, TunedEntry> merged = new TreeMap<>(entries);
    ImmutableList.Builder<TuningKey> conflicts = ImmutableList.builder();
    second.entries.forEach(
        (key, entry) -> {
          TunedEntry own = merged.get(key);
          if (own != null && !sameTactic(own, entry)) {
            conflicts.add(key);
          }
          if (own == null || entry.complete() || !own.complete()) {
            merged.put(key, entry);
          }
        });
    return new Merged(new Plan(environment, ImmutableSortedMap.copyOf(merged)), conflicts.build());
  }

  /**
   * How a second plan differs.
   *
   * @param onlyFirst keys that only the first plan has
   * @param onlySecond keys that only the second plan has
   * @param changed keys with another tactic in each
   * @param environment where the second environment differs
   */
  public record Difference(
      ImmutableList<TuningKey> onlyFirst,
      ImmutableList<TuningKey> onlySecond,
      ImmutableList<TuningKey> changed,
      ImmutableList<Environment.Mismatch> environment) {

    /** Whether both plans choose the same everywhere. */
    public boolean isEmpty() {
      return onlyFirst.isEmpty()
          && onlySecond.isEmpty()
          && changed.isEmpty()
          && environment.isEmpty();
    }
  }

  /** Compares a second plan with this one. */
  public Difference diff(Plan second) {
    return new Difference(
        missing(this, second),
        missing(second, this),
        entries.keySet().stream()
            .filter(second.entries::containsKey)
            .filter(key -> !sameTactic(entries.get(key), second.entries.get(key)))
            .collect(ImmutableList.toImmutableList()),
        second.environment.mismatches(environment));
  }

  private static ImmutableList<TuningKey> missing(Plan from, Plan in) {
    return Ordering.<TuningKey>natural()
        .immutableSortedCopy(
            from.entries.keySet().stream().filter(key -> !in.entries.containsKey(key)).toList());
  }

  private static boolean sameTactic(TunedEntry a, TunedEntry b) {
    return a.runner().equals(b.runner()) && a.tactic().equals(b.tactic());
  }
}
