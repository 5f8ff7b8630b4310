package io.moe4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import org.junit.jupiter.api.Test;

/** When the demo is content, and what it shows. */
class DemoReportTest {
  private static DemoReport report(double error) {
    return new DemoReport(
        "cpu",
        "Model",
        2,
        "avx2",
        null,
        424_000_000,
        1.5,
        424_000_000,
        2.5,
        4e-3,
        List.of(
            new DemoReport.Timing("cpu.a", 1, true, 1.5e-3, 35.2, 1, 2e-3),
            new DemoReport.Timing("cpu.a", 64, false, 45e-3, 9.4, 3, error),
            new DemoReport.Timing("cpu.b", 64, true, 44e-3, 9.5, 3, 2e-3)));
  }

  private static String text(DemoReport report) {
    StringWriter text = new StringWriter();
    report.print(new PrintWriter(text, true));
    return text.toString();
  }

  @Test
  void showsEveryTacticOnce() {
    String text = text(report(2e-3));
    assertTrue(text.contains("cpu.a   * 1.50 ms  35.2  2.0e-03    45.0 ms   9.4  2.0e-03"), text);
    assertTrue(text.contains("cpu.b           -                 * 44.0 ms   9.5  2.0e-03"), text);
    assertTrue(text.contains("of 4 rows; all below 4.0e-03"), text);
  }

  @Test
  void isContentBelowTheTolerance() {
    assertTrue(report(3.9e-3).passed());
    assertFalse(report(4e-3).passed());
    assertFalse(report(Double.NaN).passed());
    assertTrue(text(report(Double.NaN)).contains("FAILED, expected below 4.0e-03"));
  }

  @Test
  void tellsMachinesWhetherItPassed() throws Exception {
    assertEquals(
        "true",
        com.fasterxml.jackson.databind.json.JsonMapper.builder()
            .build()
            .valueToTree(report(1e-3))
            .get("passed")
            .toString());
  }
}
