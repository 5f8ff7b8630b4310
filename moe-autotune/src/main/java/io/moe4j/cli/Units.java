package io.moe4j.cli;

import java.util.Locale;

/** Quantities as people read them. */
final class Units {
  private static final String[] PREFIXES = {"", "k", "M", "G", "T"};

  private Units() {}

  /** Bytes with a decimal prefix: "1.43 GB". */
  static String bytes(long bytes) {
    return prefixed((double) bytes, "B");
  }

  /** A rate of arithmetic: "412 GFLOP/s". */
  static String flops(double perSecond) {
    return prefixed(perSecond, "FLOP/s");
  }

  private static String prefixed(double value, String unit) {
    double scaled = value;
    int prefix = 0;
    while (scaled >= 999.5 && prefix < PREFIXES.length - 1) {
      scaled /= 1000;
      prefix++;
    }
    return threeDigits(scaled) + " " + PREFIXES[prefix] + unit;
  }

  /** A duration: "950 ns", "12.3 us", "4.56 ms", "7.89 s". */
  static String seconds(double seconds) {
    if (seconds >= 0.9995) {
      return threeDigits(seconds) + " s";
    }
    if (seconds >= 0.9995e-3) {
      return threeDigits(seconds * 1e3) + " ms";
    }
    return seconds >= 0.9995e-6
        ? threeDigits(seconds * 1e6) + " us"
        : threeDigits(seconds * 1e9) + " ns";
  }

  /** "1 token", "64 tokens". */
  static String tokens(long tokens) {
    return tokens + (tokens == 1 ? " token" : " tokens");
  }

  private static String threeDigits(double value) {
    int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    boolean whole = value == Math.rint(value) && value < 10;
    return String.format(Locale.ROOT, "%." + (whole ? 0 : decimals) + "f", value);
  }
}
