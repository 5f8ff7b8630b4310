package io.moe4j;

/**
 * A native library is missing, does not load or does not fit these classes; the message names the
 * remedy.
 */
public class NativeLibraryException extends MoeException {
  private static final long serialVersionUID = 1L;

  /** One sentence that says what happened and what helps. */
  public NativeLibraryException(String message) {
    super(message);
  }

  /** One sentence that says what happened and what helps, and what caused it. */
  public NativeLibraryException(String message, Throwable cause) {
    super(message, cause);
  }
}
