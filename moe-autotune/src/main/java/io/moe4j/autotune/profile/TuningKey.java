package io.moe4j.autotune.profile;

import com.google.common.hash.Hashing;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeLayer;
import io.moe4j.RoutingSkew;
import java.nio.charset.StandardCharsets;
import java.util.Comparator;

/**
 * Names one tuning: a family and the token count that was profiled. Its text is the identity in
 * caches, plans and logs.
 *
 * @param family everything but the number of tokens
 * @param tokens the bucket
 */
public record TuningKey(TuningFamily family, long tokens) implements Comparable<TuningKey> {
  private static final Comparator<TuningKey> ORDER =
      Comparator.comparing(TuningKey::family).thenComparingLong(TuningKey::tokens);

  /** Refuses a bucket below 1. */
  public TuningKey {
    if (tokens < 1) {
      throw new InvalidArgumentException("tokens", tokens, "at least 1");
    }
  }

  /** The key of a layer's calls of one kind in one bucket. */
  public static TuningKey of(MoeLayer layer, CallKind kind, long bucket) {
    return new TuningKey(TuningFamily.of(layer, kind), bucket);
  }

  /** Reads the {@link #toString text}. */
  public static TuningKey parse(String text) {
    int at = text.lastIndexOf('@');
    try {
      return new TuningKey(
          TuningFamily.parse(text.substring(0, Math.max(at, 0))),
          Long.parseLong(text.substring(at + 1)));
    } catch (NumberFormatException e) {
      throw new InvalidArgumentException("key", '"' + text + '"', "\"family@tokens\"", e);
    }
  }

  /** This key for routing of another distribution; itself where the operation has no routing. */
  public TuningKey withSkew(RoutingSkew skew) {
    return new TuningKey(family.withSkew(skew), tokens);
  }

  /** 32 hexadecimal digits of the text's SHA-256: a file name. */
  public String hash() {
    return Hashing.sha256()
        .hashString(toString(), StandardCharsets.UTF_8)
        .toString()
        .substring(0, 32);
  }

  /** "family@tokens". */
  @Override
  public String toString() {
    return family + "@" + tokens;
  }

  @Override
  public int compareTo(TuningKey other) {
    return ORDER.compare(this, other);
  }
}
