package io.moe4j;

/** Where a launch takes its routing from. Each mode is a code path, and so part of a tuning key. */
public enum RoutingMode {
  /** The layer's {@link RoutingMethod} runs on logits. */
  FROM_LOGITS,
  /** Routing was computed before: expert id and BF16 weight in one I32. */
  PACKED,
  /** Routing was computed before: expert ids and weights in two tensors. */
  UNPACKED
}
