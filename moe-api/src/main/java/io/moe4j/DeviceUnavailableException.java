package io.moe4j;

/** The device that was asked for does not exist or cannot be used; the message says why. */
public class DeviceUnavailableException extends MoeException {
  private static final long serialVersionUID = 1L;

  /** One sentence that says what happened and what helps. */
  public DeviceUnavailableException(String message) {
    super(message);
  }

  /** One sentence that says what happened and what helps, and what caused it. */
  public DeviceUnavailableException(String message, Throwable cause) {
    super(message, cause);
  }
}
