package io.moe4j.autotune;

import io.moe4j.MoeException;

/** No tuning covers a shape, and the default tactic was not wanted. */
public class UncoveredShapeException extends MoeException {
  private static final long serialVersionUID = 1L;

  /** Which shapes, and what helps. */
  public UncoveredShapeException(String message) {
    super(message);
  }
}
