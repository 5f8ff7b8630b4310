package io.moe4j;

/** A resource was used after it was closed, or closed while it was in use. */
public class ClosedException extends MoeException {
  private static final long serialVersionUID = 1L;

  /** One sentence that says what happened and what helps. */
  public ClosedException(String message) {
    super(message);
  }

  /** One sentence that says what happened and what helps, and what caused it. */
  public ClosedException(String message, Throwable cause) {
    super(message, cause);
  }
}
