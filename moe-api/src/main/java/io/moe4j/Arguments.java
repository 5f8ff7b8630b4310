package io.moe4j;

/** Checks that every public entry shares. */
final class Arguments {
  private Arguments() {}

  /** The value, or an exception that names the argument. */
  static <T> T notNull(String name, T value) {
    if (value == null) {
      throw new InvalidArgumentException(name, null, "a value");
    }
    return value;
  }
}
