package io.moe4j.autotune.profile;

import com.google.common.base.Splitter;
import com.google.common.primitives.ImmutableLongArray;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeLayer;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * The token counts that are profiled, and which of them answers for a count between two. Counts
 * below the first or above the last bucket are clamped to it. None is larger than {@link
 * MoeLayer#MAX_TOKENS}. Immutable; its text form is what {@link #parse} reads.
 */
public final class TokenBuckets {

  /** Which neighbour answers for a count between two buckets. */
  public enum Rounding {
    /** The largest bucket that is not above. */
    FLOOR,
    /** The smallest bucket that is not below. */
    CEILING
  }

  private final ImmutableLongArray values;
  private final Rounding rounding;

  private TokenBuckets(ImmutableLongArray values, Rounding rounding) {
    this.values = values;
    this.rounding = rounding;
  }

  /**
   * 1, 2, 4, ... and {@code maxTokens} itself; rounding up: many tactics have a largest number of
   * tokens, so that what a bucket chooses suits all counts below it, but not all above.
   */
  public static TokenBuckets powersOfTwo(long maxTokens) {
    return geometricThenSteps(maxTokens, maxTokens, maxTokens);
  }

  /**
   * Powers of two to 256, steps of 256 to 2048, of 512 to 4096, then powers of two again, and
   * {@code maxTokens} itself; rounding up. Between 256 and 4096 tokens the best tile changes faster
   * than powers of two can follow.
   */
  public static TokenBuckets hybrid(long maxTokens) {
    return geometricThenSteps(maxTokens, 256, 4096);
  }

  private static TokenBuckets geometricThenSteps(long maxTokens, long stepsFrom, long stepsTo) {
    checkTokens(maxTokens);
    TreeSet<Long> values = new TreeSet<>();
    for (long tokens = 1; tokens <= maxTokens; tokens += step(tokens, stepsFrom, stepsTo)) {
      values.add(tokens);
    }
    values.add(maxTokens);
    return new TokenBuckets(ImmutableLongArray.copyOf(values), Rounding.CEILING);
  }

  private static long step(long tokens, long stepsFrom, long stepsTo) {
    if (tokens < stepsFrom || tokens >= stepsTo) {
      return tokens;
    }
    return tokens < 2048 ? 256 : 512;
  }

  /** These counts, in any order, duplicates dropped; rounding down. */
  public static TokenBuckets of(long... tokens) {
    if (tokens.length == 0) {
      throw new InvalidArgumentException("buckets", "none", "at least one token count");
    }
    TreeSet<Long> values = new TreeSet<>();
    for (long count : tokens) {
      checkTokens(count);
      values.add(count);
    }
    return new TokenBuckets(ImmutableLongArray.copyOf(values), Rounding.FLOOR);
  }

  private static void checkTokens(long tokens) {
    if (tokens < 1 || tokens > MoeLayer.MAX_TOKENS) {
      throw new InvalidArgumentException(
          "buckets", tokens, "token counts of at least 1 and at most " + MoeLayer.MAX_TOKENS);
    }
  }

  /**
   * Reads "pow2:8192", "hybrid:8192" or "1,16,100", each with ":up" or ":down" at its end for a
   * rounding other than its own.
   */
  public static TokenBuckets parse(String text) {
    for (Rounding rounding : Rounding.values()) {
      String suffix = suffix(rounding);
      if (text.endsWith(suffix)) {
        return parse(text.substring(0, text.length() - suffix.length())).withRounding(rounding);
      }
    }
    try {
      if (text.startsWith("pow2:")) {
        return powersOfTwo(Long.parseLong(text.substring("pow2:".length())));
      }
      if (text.startsWith("hybrid:")) {
        return hybrid(Long.parseLong(text.substring("hybrid:".length())));
      }
      return of(
          Splitter.on(',').trimResults().splitToStream(text).mapToLong(Long::parseLong).toArray());
    } catch (NumberFormatException e) {
      throw new InvalidArgumentException(
          "buckets", '"' + text + '"', "\"pow2:MAX\", \"hybrid:MAX\" or a list of counts", e);
    }
  }

  private static String suffix(Rounding rounding) {
    return rounding == Rounding.CEILING ? ":up" : ":down";
  }

  /** The same counts with another rounding. */
  public TokenBuckets withRounding(Rounding rounding) {
    return new TokenBuckets(values, rounding);
  }

  /** The counts, ascending. */
  public ImmutableLongArray values() {
    return values;
  }

  /** How counts between two buckets are mapped. */
  public Rounding rounding() {
    return rounding;
  }

  /** The bucket that answers for a token count. */
  public long bucketOf(long tokens) {
    int low = 0;
    int high = values.length() - 1;
    while (low < high) {
      int middle = (low + high + 1) >>> 1;
      if (values.get(middle) <= tokens) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    boolean up = rounding == Rounding.CEILING && values.get(low) < tokens;
    return values.get(up ? Math.min(low + 1, values.length() - 1) : low);
  }

  /** The counts that one of the buckets answers for without clamping. */
  public TokenRange served(long bucket) {
    int i = values.indexOf(bucket);
    if (i < 0) {
      throw new InvalidArgumentException("bucket", bucket, "one of " + this);
    }
    if (rounding == Rounding.CEILING) {
      return new TokenRange(i == 0 ? 1 : values.get(i - 1) + 1, bucket);
    }
    return new TokenRange(bucket, i + 1 == values.length() ? bucket : values.get(i + 1) - 1);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TokenBuckets that
        && values.equals(that.values)
        && rounding == that.rounding;
  }

  @Override
  public int hashCode() {
    return 31 * values.hashCode() + rounding.hashCode();
  }

  /** The list form that {@link #parse} reads. */
  @Override
  public String toString() {
    return values.stream()
        .mapToObj(Long::toString)
        .collect(Collectors.joining(",", "", suffix(rounding)));
  }
}
