package io.moe4j.autotune.store;

import io.moe4j.MoeException;

/** A file of the tuner cannot be read or written; the message names it and says why. */
public class StoreException extends MoeException {
  private static final long serialVersionUID = 1L;

  /** What happened to which file. */
  public StoreException(String message) {
    super(message);
  }

  /** What happened to which file, and what caused it. */
  public StoreException(String message, Throwable cause) {
    super(message, cause);
  }
}
