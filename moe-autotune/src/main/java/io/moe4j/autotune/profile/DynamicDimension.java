package io.moe4j.autotune.profile;

import com.google.common.collect.ImmutableList;
import io.moe4j.InvalidArgumentException;

/**
 * A size that changes from call to call, and shows in every axis named here at once.
 *
 * @param name what it counts, e.g. "tokens"
 * @param axes where it shows; the first one is read
 * @param buckets sizes that are profiled
 */
public record DynamicDimension(String name, ImmutableList<Axis> axes, TokenBuckets buckets) {

  /** Refuses a dimension that shows nowhere. */
  public DynamicDimension {
    if (axes.isEmpty()) {
      throw new InvalidArgumentException("axes", "none", "at least one axis of " + name);
    }
  }

  /** This dimension, profiled at other sizes. */
  public DynamicDimension withBuckets(TokenBuckets buckets) {
    return new DynamicDimension(name, axes, buckets);
  }
}
