package io.moe4j.autotune.isolation;

import io.moe4j.MoeException;

/** Tactics could not be tried in another process; nothing is known about them. */
public class ProbeException extends MoeException {
  private static final long serialVersionUID = 1L;

  /** What kept them from being tried. */
  public ProbeException(String message) {
    super(message);
  }

  /** What kept them from being tried, and what caused it. */
  public ProbeException(String message, Throwable cause) {
    super(message, cause);
  }
}
