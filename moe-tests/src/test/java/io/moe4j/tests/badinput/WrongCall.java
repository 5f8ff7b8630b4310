package io.moe4j.tests.badinput;

/**
 * One row of a table of wrong calls.
 *
 * @param what what is wrong
 * @param type exception that it has to give
 * @param named what the message has to name
 * @param call does it
 */
record WrongCall<T>(
    String what, Class<? extends Throwable> type, String named, ThrowingConsumer<T> call) {

  /** What is done with a fixture. */
  interface ThrowingConsumer<T> {
    void accept(T fixture) throws Throwable;
  }

  @Override
  public String toString() {
    return what + " -> " + type.getSimpleName() + " \"" + named + "\"";
  }
}
