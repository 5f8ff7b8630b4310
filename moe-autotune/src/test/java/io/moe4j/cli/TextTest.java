package io.moe4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Quantities and tables as people read them. */
class TextTest {
  @ParameterizedTest
  @CsvSource({
    "0, 0 B",
    "999, 999 B",
    "1000, 1 kB",
    "1234, 1.23 kB",
    "12345, 12.3 kB",
    "999499, 999 kB",
    "999500, 1.00 MB",
    "424000000, 424 MB",
    "9223372036854775807, 9223372 TB"
  })
  void bytes(long bytes, String text) {
    assertEquals(text, Units.bytes(bytes));
  }

  @Test
  void rates() {
    assertEquals("59.0 GFLOP/s", Units.flops(59.04e9));
    assertEquals("1.20 TFLOP/s", Units.flops(1.2e12));
  }

  @ParameterizedTest
  @CsvSource({
    "5e-9, 5 ns", "1.5e-6, 1.50 us", "45.6e-6, 45.6 us", "999.4e-6, 999 us", "999.6e-6, 1.00 ms",
    "0.0123, 12.3 ms", "0.99949, 999 ms", "0.9996, 1.00 s", "75, 75.0 s", "2000, 2000 s"
  })
  void seconds(double seconds, String text) {
    assertEquals(text, Units.seconds(seconds));
  }

  @Test
  void tables() {
    StringWriter text = new StringWriter();
    new TextTable()
        .text("name")
        .number("n")
        .row("a", "1")
        .row("longer", "12345")
        .print(new PrintWriter(text, true), "> ");
    assertEquals(
        """
        > name        n
        > a           1
        > longer  12345
        """,
        text.toString().replace(System.lineSeparator(), "\n"));
  }
}
