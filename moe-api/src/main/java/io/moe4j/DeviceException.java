package io.moe4j;

/** A device reported a failure while it worked; the device may have to be opened anew. */
public class DeviceException extends MoeException {
  private static final long serialVersionUID = 1L;

  /** One sentence that says what happened and what helps. */
  public DeviceException(String message) {
    super(message);
  }

  /** One sentence that says what happened and what helps, and what caused it. */
  public DeviceException(String message, Throwable cause) {
    super(message, cause);
  }
}
