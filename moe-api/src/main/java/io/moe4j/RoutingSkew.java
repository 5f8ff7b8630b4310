package io.moe4j;

/** How unevenly tokens spread over experts: what a caller may know of its traffic. */
public enum RoutingSkew {
  /** Not known: tuned for a blend of the others. */
  UNKNOWN,
  /** Each token draws its experts uniformly. */
  UNIFORM,
  /** Expert popularity falls with rank (Zipf, exponent 1). */
  ZIPF,
  /** One expert is chosen by every token. */
  HOT,
  /** Every expert gets the same number of tokens. */
  BALANCED
}
