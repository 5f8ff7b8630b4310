package io.moe4j;

/** What was asked for is valid, but the device or this build does not do it. */
public class UnsupportedOptionException extends MoeException {
  private static final long serialVersionUID = 1L;

  /** One sentence that says what happened and what helps. */
  public UnsupportedOptionException(String message) {
    super(message);
  }

  /** One sentence that says what happened and what helps, and what caused it. */
  public UnsupportedOptionException(String message, Throwable cause) {
    super(message, cause);
  }
}
