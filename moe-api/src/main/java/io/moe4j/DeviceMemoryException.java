package io.moe4j;

/** A device has not enough free memory. Nothing was changed. */
public class DeviceMemoryException extends MoeException {
  private static final long serialVersionUID = 1L;

  /** One sentence that says what happened and what helps. */
  public DeviceMemoryException(String message) {
    super(message);
  }

  /** One sentence that says what happened and what helps, and what caused it. */
  public DeviceMemoryException(String message, Throwable cause) {
    super(message, cause);
  }
}
