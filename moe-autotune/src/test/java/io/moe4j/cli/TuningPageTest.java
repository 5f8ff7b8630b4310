package io.moe4j.cli;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.StringReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;
import org.xml.sax.InputSource;

/** The page of a tuning: what is on it and, where Chromium is installed, how it looks. */
class TuningPageTest {
  @TempDir Path folder;

  @Test
  void isSelfContained() {
    String html = TuningPage.toHtml(SampleTuning.report());
    for (String outside : List.of("http:", "https:", "src=", "href=", "@import", "url(")) {
      assertFalse(html.contains(outside), outside);
    }
  }

  @Test
  void escapesWhatItWasTold() {
    String html = TuningPage.toHtml(SampleTuning.report());
    assertTrue(html.contains("Model &lt;7&gt; &amp; &quot;sons&quot;"), html);
    assertFalse(html.contains("<7>"));
  }

  @Test
  void drawsTimesByTheirLogarithms() throws Exception {
    LogLogChart chart = new LogLogChart("tokens", Double::toString);
    chart.line(
        "chosen",
        "chosen",
        List.of(
            new LogLogChart.Point(1, 1e3, "a"),
            new LogLogChart.Point(16, 1e5, "b"),
            new LogLogChart.Point(256, 1e7, "c")));
    NodeList circles = circles(chart);
    double[] x = coordinates(circles, "cx");
    double[] y = coordinates(circles, "cy");
    assertEquals(x[1] - x[0], x[2] - x[1], 0.2);
    assertEquals(y[0] - y[1], y[1] - y[2], 0.2);
    assertTrue(x[2] > x[0] + 300, "to the right");
    assertTrue(y[2] < y[0] - 200, "upwards");
  }

  @Test
  void drawsASinglePointInTheMiddle() throws Exception {
    LogLogChart chart = new LogLogChart("tokens", Double::toString);
    chart.line("chosen", "chosen", List.of(new LogLogChart.Point(8, 1e6, "a")));
    NodeList circles = circles(chart);
    assertTrue(Math.abs(coordinates(circles, "cx")[0] - 400) < 80);
    assertTrue(Math.abs(coordinates(circles, "cy")[0] - 200) < 40);
  }

  private static NodeList circles(LogLogChart chart) throws Exception {
    return DocumentBuilderFactory.newInstance()
        .newDocumentBuilder()
        .parse(new InputSource(new StringReader(chart.toSvg(800, 400))))
        .getElementsByTagName("circle");
  }

  private static double[] coordinates(NodeList circles, String attribute) {
    double[] values = new double[circles.getLength()];
    for (int i = 0; i < values.length; i++) {
      values[i] = Double.parseDouble(((Element) circles.item(i)).getAttribute(attribute));
    }
    return values;
  }

  // ---- in a browser

  /** Looks at the page in a frame for each look, and tells what it sees in an attribute. */
  private static final String PROBE =
      """
      <body style="margin:0">
      %s
      <script>
        const luminance = color => {
          const parts = color.match(/[0-9.]+/g).slice(0, 3).map(v => v / 255)
              .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
          return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
        };
        const look = frame => {
          const page = frame.contentDocument, view = frame.contentWindow;
          const style = e => view.getComputedStyle(e);
          const back = luminance(style(page.body).backgroundColor);
          const contrast = color => {
            const l = luminance(color);
            return (Math.max(l, back) + 0.05) / (Math.min(l, back) + 0.05);
          };
          const charts = [...page.querySelectorAll('svg')].filter(c => c.getBoundingClientRect().width);
          const ticks = [...charts[0].querySelectorAll('text')];
          const boxes = ticks.map(t => t.getBoundingClientRect());
          const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
          return {
            background: back,
            overflow: page.documentElement.scrollWidth - view.innerWidth,
            charts: charts.length,
            chartWidth: charts[0].getBoundingClientRect().width,
            tickPixels: Math.min(...boxes.map(b => b.height)),
            overlappingTicks: boxes.filter((a, i) => boxes.some((b, j) => j > i && overlap(a, b))).length,
            ticksOutside: boxes.filter(b => b.left < 0 || b.right > view.innerWidth).length,
            tactics: page.querySelectorAll('td.tactic').length,
            tacticsOutside: [...page.querySelectorAll('td.tactic')]
                .filter(e => e.scrollWidth > e.clientWidth + 1
                    || e.getBoundingClientRect().right > view.innerWidth).length,
            text: Math.min(...[...page.querySelectorAll('h1, p, td, th, summary')]
                .map(e => contrast(style(e).color))),
            lines: Math.min(...['chosen', 'default', 'floor']
                .map(c => contrast(style(charts[0].querySelector('.' + c + ' polyline')).stroke))),
          };
        };
        onload = () => {
          const frames = [...document.querySelectorAll('iframe')];
          document.body.dataset.seen = JSON.stringify(frames.map(look));
        };
      </script>
      """;

  /** A frame that has its page believe in a user who prefers this scheme. */
  private static final String FRAME =
      """
      <iframe src="page.html" width="%d" height="2400" style="border:0; color-scheme:%s"></iframe>
      """;

  /** One look at the page. */
  private record Look(String scheme, int width) {
    String frame() {
      return FRAME.formatted(width, scheme);
    }
  }

  @Test
  void isReadableInLightAndDarkOnPhonesAndDesks() throws Exception {
    Path chromium = chromium();
    TuningPage.write(SampleTuning.report(), folder.resolve("page.html"));
    List<Look> looks =
        List.of(
            new Look("light", 390),
            new Look("dark", 390),
            new Look("light", 1000),
            new Look("dark", 1000));
    String frames = looks.stream().map(Look::frame).collect(Collectors.joining());
    Path probe = folder.resolve("probe.html");
    Files.writeString(probe, PROBE.formatted(frames));
    JsonNode seen = look(chromium, probe);
    assertAll(
        IntStream.range(0, looks.size())
            .mapToObj(i -> () -> isReadable(looks.get(i), seen.get(i))));
  }

  private static void isReadable(Look look, JsonNode seen) {
    String what = look + ": " + seen;
    assertEquals(look.scheme().equals("dark"), seen.get("background").doubleValue() < 0.1, what);
    assertTrue(seen.get("overflow").intValue() <= 0, what);
    assertEquals(1, seen.get("charts").intValue(), what);
    assertTrue(seen.get("chartWidth").doubleValue() > 0.8 * Math.min(look.width(), 860), what);
    assertTrue(seen.get("tickPixels").doubleValue() >= 11, what);
    assertEquals(0, seen.get("overlappingTicks").intValue(), what);
    assertEquals(0, seen.get("ticksOutside").intValue(), what);
    assertTrue(seen.get("tactics").intValue() > 0, what);
    assertEquals(0, seen.get("tacticsOutside").intValue(), what);
    // What the accessibility guidelines ask of text and of graphics.
    assertTrue(seen.get("text").doubleValue() >= 4.5, what);
    assertTrue(seen.get("lines").doubleValue() >= 3, what);
  }

  /** Chromium as the system has it; the test is skipped without. */
  private static Path chromium() {
    Optional<Path> installed =
        Stream.of("chromium", "chromium-browser", "google-chrome")
            .flatMap(
                name ->
                    Stream.of(System.getenv("PATH").split(":")).map(path -> Path.of(path, name)))
            .filter(Files::isExecutable)
            .findFirst();
    if (installed.isEmpty()) {
      String skipped = "NOT TESTED: how the tuning page looks; Chromium is not installed";
      System.err.println(skipped);
      abort(skipped);
    }
    return installed.get();
  }

  private JsonNode look(Path chromium, Path probe) throws IOException, InterruptedException {
    Path dom = folder.resolve("dom.html");
    Process process =
        new ProcessBuilder(
                chromium.toString(),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--allow-file-access-from-files",
                "--user-data-dir=" + folder.resolve("profile"),
                "--window-size=1100,2500",
                "--virtual-time-budget=5000",
                "--dump-dom",
                probe.toUri().toString())
            .redirectOutput(dom.toFile())
            .redirectError(folder.resolve("err.txt").toFile())
            .start();
    if (!process.waitFor(120, TimeUnit.SECONDS)) {
      process.destroyForcibly();
      throw new AssertionError("Chromium does not end");
    }
    Matcher seen = Pattern.compile("data-seen=\"([^\"]*)\"").matcher(Files.readString(dom));
    assertTrue(seen.find(), () -> read(dom) + read(folder.resolve("err.txt")));
    return JsonMapper.builder().build().readTree(seen.group(1).replace("&quot;", "\""));
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      return e.toString();
    }
  }
}
