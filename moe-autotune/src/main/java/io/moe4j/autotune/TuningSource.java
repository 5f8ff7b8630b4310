package io.moe4j.autotune;

/** Where a tactic was looked up, in the order of the search. */
public enum TuningSource {
  /** Measured by this process. */
  MEASURED,
  /** Found in the cache directory. */
  CACHED,
  /** In a plan that the user brought. */
  PLAN,
  /** In a plan in a jar. */
  BUNDLED,
  /** Nowhere: the back end's default. */
  DEFAULT
}
