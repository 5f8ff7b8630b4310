package io.moe4j;

/** An argument is not what it has to be. The message names it, what was found and what is valid. */
public class InvalidArgumentException extends MoeException {
  private static final long serialVersionUID = 1L;

  /** See {@link #argument}. */
  private final String argument;

  /** The message becomes "{argument}: found {found}, expected {expected}". */
  public InvalidArgumentException(String argument, Object found, String expected) {
    this(argument, found, expected, null);
  }

  /** As above, with what brought it to light. */
  public InvalidArgumentException(String argument, Object found, String expected, Throwable cause) {
    super(argument + ": found " + found + ", expected " + expected, cause);
    this.argument = argument;
  }

  /** A message of a back end, which begins with the argument's name and a colon. */
  public InvalidArgumentException(String message) {
    super(message);
    int colon = message.indexOf(':');
    this.argument = colon < 0 ? "" : message.substring(0, colon);
  }

  /** Name of the argument that was refused, as its method or record calls it. */
  public final String argument() {
    return argument;
  }
}
