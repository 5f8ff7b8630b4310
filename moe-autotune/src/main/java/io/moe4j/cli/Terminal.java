package io.moe4j.cli;

import java.io.Console;

/** The terminal that the application was started from, if it was. */
final class Terminal {
  private Terminal() {}

  /** Whether what is printed is read at once by a person, on a terminal that can clear a line. */
  @SuppressWarnings("SystemConsoleNull") // Before JDK 22, null says that there is none.
  static boolean isThere() {
    Console console = System.console();
    return console != null && isTerminal(console) && !"dumb".equals(System.getenv("TERM"));
  }

  /** From JDK 22 on there is always a console, and a method that says whether it is a terminal. */
  private static boolean isTerminal(Console console) {
    try {
      return (boolean) Console.class.getMethod("isTerminal").invoke(console);
    } catch (ReflectiveOperationException e) {
      return true;
    }
  }
}
