package io.moe4j.autotune.isolation;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What ended a process, in words. */
final class ExitCause {
  /** The virtual machine reports a fault before it aborts itself, which hides the first signal. */
  private static final Pattern REPORTED = Pattern.compile("#\\s+(SIG[A-Z]+) \\(0x");

  /** The last words of a process that an exception ended. */
  private static final Pattern UNCAUGHT = Pattern.compile("Exception in thread \"main\" (.+)");

  private static final int SIGNALLED = 128;

  /**
   * SIGHUP, SIGINT and SIGTERM, by which somebody asks a process to end, and SIGKILL, by which a
   * system that is out of memory ends one: no fault of what it does.
   */
  private static final ImmutableSet<Integer> FROM_OUTSIDE = ImmutableSet.of(1, 2, 9, 15);

  private static final ImmutableMap<Integer, String> NAMES =
      ImmutableMap.of(
          4, "SIGILL", 6, "SIGABRT", 7, "SIGBUS", 8, "SIGFPE", //
          9, "SIGKILL", 11, "SIGSEGV", 15, "SIGTERM");

  private ExitCause() {}

  /** Whether another process ended it, as Ctrl-C does, which reaches a whole process group. */
  static boolean isFromOutside(int exitCode) {
    return FROM_OUTSIDE.contains(exitCode - SIGNALLED);
  }

  static String of(int exitCode, String output) {
    Matcher reported = REPORTED.matcher(output);
    if (reported.find()) {
      return reported.group(1);
    }
    if (exitCode > SIGNALLED) {
      int signal = exitCode - SIGNALLED;
      return NAMES.getOrDefault(signal, "signal " + signal);
    }
    Matcher uncaught = UNCAUGHT.matcher(output);
    return uncaught.find() ? uncaught.group(1) : "exit code " + exitCode;
  }
}
