package io.moe4j.checkpoint;

import io.moe4j.MoeException;
import java.nio.file.Path;

/**
 * A checkpoint is not what it has to be: missing, truncated, malformed, or made for another
 * operation. The message names the file and, where there is one, the tensor or the field.
 */
public final class CheckpointException extends MoeException {
  private static final long serialVersionUID = 1L;

  /** Longer names and texts are cut, so that no file can fill a log. */
  private static final int MAX_QUOTE = 200;

  /** "{file}: {problem}". */
  public CheckpointException(Path file, String problem) {
    this(file, problem, null);
  }

  /** "{file}: {problem}", with what brought it to light. */
  public CheckpointException(Path file, String problem, Throwable cause) {
    super(file + ": " + problem, cause);
  }

  /** "{file}: tensor "{name}": {problem}". */
  public static CheckpointException ofTensor(Path file, String name, String problem) {
    return new CheckpointException(file, "tensor " + quote(name) + ": " + problem);
  }

  /** A text of a file as a message may show it: quoted, on one line, cut where it is long. */
  static String quote(String text) {
    StringBuilder quoted = new StringBuilder("\"");
    for (int i = 0; i < Math.min(text.length(), MAX_QUOTE); i++) {
      char c = text.charAt(i);
      quoted.append(Character.isISOControl(c) ? '?' : c);
    }
    return quoted.append(text.length() > MAX_QUOTE ? "..." : "").append('"').toString();
  }
}
