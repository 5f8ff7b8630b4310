package io.moe4j.autotune.isolation;

/**
 * One launch to try.
 *
 * @param tactic name of the tactic
 * @param tokens how many tokens it gets
 */
record Trial(String tactic, long tokens) {

  /** One line, as {@link #parse} reads it. */
  String line() {
    return tokens + " " + tactic;
  }

  /** Reads a line. */
  static Trial parse(String line) {
    int space = line.indexOf(' ');
    return new Trial(line.substring(space + 1), Long.parseLong(line.substring(0, space)));
  }
}
