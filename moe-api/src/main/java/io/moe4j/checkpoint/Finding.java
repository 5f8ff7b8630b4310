package io.moe4j.checkpoint;

/**
 * Something that inspection noticed about a checkpoint.
 *
 * @param severity how bad it is
 * @param subject what it is about: a tensor, a projection or a file
 * @param message what was found, in one sentence
 */
public record Finding(Severity severity, String subject, String message) {

  /** How bad a finding is. */
  public enum Severity {
    /** Worth knowing; nothing is wrong. */
    INFO,
    /** Loads, but its values are not plausible. */
    WARNING,
    /** Does not load, or computes garbage. */
    ERROR
  }
}
