package io.moe4j.autotune.store;

import com.google.common.collect.ImmutableList;
import com.google.common.io.Resources;
import java.io.IOException;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * Plans in jars. A jar, ours or a model's, lists its plans in {@value #INDEX}, one resource name a
 * line, relative to that file.
 */
public final class BundledPlans {
  static final String INDEX = "META-INF/moe4j/plans.index";

  private BundledPlans() {}

  /** All plans on the class path that can be read; what is wrong with the others is told. */
  public static ImmutableList<Plan> load(Consumer<String> trouble) {
    ImmutableList.Builder<Plan> plans = ImmutableList.builder();
    try {
      for (URL index : indexes()) {
        for (String line : Resources.readLines(index, StandardCharsets.UTF_8)) {
          if (!line.isBlank()) {
            load(new URL(index, line.strip()), trouble).ifPresent(plans::add);
          }
        }
      }
    } catch (IOException e) {
      trouble.accept("bundled plans cannot be listed: " + e);
    }
    return plans.build();
  }

  private static Optional<Plan> load(URL plan, Consumer<String> trouble) {
    try {
      return Optional.of(Plan.parse(Resources.toByteArray(plan), plan.toString()));
    } catch (IOException e) {
      trouble.accept("bundled plan " + plan + " cannot be read: " + e);
    } catch (StoreException e) {
      trouble.accept(e.getMessage());
    }
    return Optional.empty();
  }

  /** Of jars that the thread's class loader sees, and of those beside these classes. */
  private static Iterable<URL> indexes() throws IOException {
    Map<String, URL> indexes = new LinkedHashMap<>(); // equal URLs ask a name server
    ClassLoader[] loaders = {
      Thread.currentThread().getContextClassLoader(), BundledPlans.class.getClassLoader()
    };
    for (ClassLoader loader : loaders) {
      if (loader != null) {
        loader
            .getResources(INDEX)
            .asIterator()
            .forEachRemaining(index -> indexes.put(index.toString(), index));
      }
    }
    return indexes.values();
  }
}
