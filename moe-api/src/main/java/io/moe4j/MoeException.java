package io.moe4j;

/** The root of every exception that moe4j throws on purpose. */
public class MoeException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** One sentence that says what happened and what helps. */
  public MoeException(String message) {
    super(message);
  }

  /** One sentence that says what happened and what helps, and what caused it. */
  public MoeException(String message, Throwable cause) {
    super(message, cause);
  }
}
