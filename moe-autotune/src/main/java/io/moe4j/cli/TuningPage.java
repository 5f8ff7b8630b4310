package io.moe4j.cli;

import com.google.common.html.HtmlEscapers;
import com.google.common.io.Resources;
import io.moe4j.MoeException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/** A tuning as one HTML page that needs nothing else: charts, tables, environment. */
final class TuningPage {
  private static final int WIDE = 860;
  private static final int NARROW = 350;
  private static final int HEIGHT = 430;

  private static final String HEAD =
      """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta name="color-scheme" content="light dark">
      """;

  private final TuneReport report;
  private final StringBuilder html = new StringBuilder();

  private TuningPage(TuneReport report) {
    this.report = report;
  }

  /** Writes the page to a file. */
  static void write(TuneReport report, Path file) {
    try {
      Files.writeString(file, toHtml(report));
    } catch (IOException e) {
      throw new MoeException("report " + file + " cannot be written: " + e, e);
    }
  }

  /** The page. */
  static String toHtml(TuneReport report) {
    return new TuningPage(report).page();
  }

  private String page() {
    String title =
        "Tuning of layer " + report.layer() + ", " + report.family() + ", on " + device();
    html.append(HEAD);
    element("title", "moe4j: " + title);
    html.append("<style>\n").append(style()).append("</style>\n</head>\n<body>\n<main>\n");
    element("h1", title);
    element("p", summary());
    report.parts().forEach(this::appendPart);
    appendTrouble();
    appendEnvironment();
    return html.append("</main>\n</body>\n</html>\n").toString();
  }

  private static String style() {
    try {
      return Resources.toString(
          Resources.getResource(TuningPage.class, "tuning-page.css"), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private String device() {
    return report.environment().getOrDefault("device", report.device());
  }

  private String summary() {
    double best =
        report.parts().stream()
            .flatMap(part -> part.buckets().stream())
            .filter(bucket -> bucket.tactic() != null)
            .mapToDouble(TuneReport.Bucket::speedup)
            .max()
            .orElse(1);
    return "%s %d launches in %s. %s"
        .formatted(
            report.interrupted() ? "Interrupted after" : "Measured with",
            report.launches(),
            Units.seconds(report.seconds()),
            best < 1.005
                ? "Nothing beat the default."
                : "The chosen tactics are up to %s times as fast as the default."
                    .formatted(twoDecimals(best)));
  }

  // ---- a layer's calls of one kind

  private void appendPart(TuneReport.Part part) {
    html.append("<section>\n");
    element("h2", capitalized(part.experts()) + " experts, routing " + part.routing());
    element("p", part.layer());
    appendCharts(part);
    appendChoices(part);
    appendTactics(part);
    html.append("</section>\n");
  }

  private void appendCharts(TuneReport.Part part) {
    LogLogChart chart = chart(part);
    if (chart.isEmpty()) {
      element("p", "Nothing was chosen for any token count.");
      return;
    }
    html.append("<p class=\"legend\">\n");
    appendKey("chosen", "chosen tactics");
    appendKey("default", "default");
    appendKey("other", "every other tactic");
    appendKey("floor", "floor");
    html.append("</p>\n");
    // Text in a drawing shrinks with it: a phone gets a drawing of its own.
    html.append("<div class=\"wide\">").append(chart.toSvg(WIDE, HEIGHT)).append("</div>\n");
    html.append("<div class=\"narrow\">").append(chart.toSvg(NARROW, HEIGHT)).append("</div>\n");
    if (part.bytesPerSecond() != null) {
      element(
          "p",
          "class=\"note\"",
          "Time of a launch against tokens, both logarithmic. Floor: reading the weights of the"
              + " active experts once at "
              + Units.bytes(part.bytesPerSecond().longValue())
              + "/s and calculating at "
              + Units.flops(part.flopsPerSecond())
              + ", the most that any chosen tactic reached at any token count.");
    }
  }

  private void appendKey(String cssClass, String text) {
    html.append("<span class=\"key\"><i class=\"").append(cssClass).append("\"></i>");
    html.append(escape(text)).append("</span>\n");
  }

  private static LogLogChart chart(TuneReport.Part part) {
    LogLogChart chart = new LogLogChart("tokens", nanos -> time(nanos).replaceFirst("\\.0+ ", " "));
    times(part).forEach((tactic, points) -> chart.line("other", tactic, points));
    List<LogLogChart.Point> floor = new ArrayList<>();
    List<LogLogChart.Point> defaults = new ArrayList<>();
    List<LogLogChart.Point> chosen = new ArrayList<>();
    for (TuneReport.Bucket bucket : part.buckets()) {
      if (bucket.tactic() != null) {
        defaults.add(point(bucket, "default", bucket.defaultNanos()));
        chosen.add(point(bucket, bucket.tactic(), bucket.nanos()));
        if (bucket.floorNanos() != null) {
          floor.add(point(bucket, "floor", bucket.floorNanos()));
        }
      }
    }
    return chart
        .line("floor", "floor", floor)
        .line("default", "default", defaults)
        .line("chosen", "chosen tactics", chosen);
  }

  private static Map<String, List<LogLogChart.Point>> times(TuneReport.Part part) {
    Map<String, List<LogLogChart.Point>> times = new LinkedHashMap<>();
    for (TuneReport.Bucket bucket : part.buckets()) {
      for (TuneReport.Tactic tactic : bucket.tactics()) {
        if (tactic.nanos() != null) {
          times
              .computeIfAbsent(tactic.name(), name -> new ArrayList<>())
              .add(point(bucket, tactic.name(), tactic.nanos()));
        }
      }
    }
    return times;
  }

  private static LogLogChart.Point point(TuneReport.Bucket bucket, String what, double nanos) {
    return new LogLogChart.Point(
        bucket.tokens(), nanos, what + ", " + Units.tokens(bucket.tokens()) + ": " + time(nanos));
  }

  private void appendChoices(TuneReport.Part part) {
    double largest =
        part.buckets().stream()
            .filter(bucket -> bucket.tactic() != null)
            .mapToDouble(TuneReport.Bucket::speedup)
            .max()
            .orElse(1);
    html.append("<div class=\"scroll\"><table class=\"choices\">\n<thead><tr>");
    html.append("<th>tokens</th><th>time</th>");
    html.append("<th>default</th><th class=\"text\">speed-up</th><th>of floor</th>");
    html.append("<th class=\"text tactic\">tactic</th></tr></thead>\n<tbody>\n");
    for (TuneReport.Bucket bucket : part.buckets()) {
      html.append("<tr>");
      element("td", Long.toString(bucket.tokens()));
      if (bucket.tactic() == null) {
        element("td", "class=\"text\" colspan=\"5\"", bucket.status() + ": " + bucket.detail());
      } else {
        appendChoice(bucket, largest);
      }
      html.append("</tr>\n");
    }
    html.append("</tbody></table></div>\n");
  }

  private void appendChoice(TuneReport.Bucket bucket, double largestSpeedup) {
    element("td", time(bucket.nanos()));
    element("td", time(bucket.defaultNanos()));
    html.append("<td class=\"text\"><span class=\"bar\" style=\"--part: ");
    html.append(percent(bucket.speedup() / largestSpeedup)).append("\">");
    html.append(twoDecimals(bucket.speedup())).append("</span></td>\n");
    boolean floor = bucket.floorNanos() != null;
    element("td", floor ? percent(bucket.floorNanos() / bucket.nanos()) : "-");
    String note = bucket.status().equals("tuned") ? "" : " (" + bucket.status() + ")";
    element("td", "class=\"text tactic\"", bucket.tactic() + note);
  }

  /** Every tactic at every token count that was searched. */
  private void appendTactics(TuneReport.Part part) {
    List<TuneReport.Bucket> searched =
        part.buckets().stream().filter(bucket -> !bucket.tactics().isEmpty()).toList();
    if (searched.isEmpty()) {
      return;
    }
    Set<String> tactics =
        searched.stream()
            .flatMap(bucket -> bucket.tactics().stream())
            .map(TuneReport.Tactic::name)
            .collect(Collectors.toCollection(LinkedHashSet::new));
    html.append(
        "<details>\n<summary>All tactics</summary>\n<div class=\"scroll\"><table>\n<thead>");
    html.append("<tr><th class=\"text\">tactic</th>");
    searched.forEach(bucket -> element("th", Long.toString(bucket.tokens())));
    html.append("</tr></thead>\n<tbody>\n");
    for (String name : tactics) {
      html.append("<tr>");
      element("td", "class=\"text\"", name);
      searched.forEach(bucket -> appendCell(bucket, name));
      html.append("</tr>\n");
    }
    html.append("</tbody></table></div>\n</details>\n");
  }

  private void appendCell(TuneReport.Bucket bucket, String name) {
    TuneReport.Tactic tactic =
        bucket.tactics().stream().filter(t -> t.name().equals(name)).findFirst().orElse(null);
    if (tactic == null) {
      element("td", "");
    } else {
      String chosen = name.equals(bucket.tactic()) ? "class=\"best\" " : "";
      String detail =
          tactic.detail().isEmpty() ? tactic.outcome() : tactic.outcome() + ": " + tactic.detail();
      element(
          "td",
          chosen + "title=\"" + escape(detail) + "\"",
          tactic.nanos() == null ? tactic.outcome() : time(tactic.nanos()));
    }
  }

  // ---- the whole

  private void appendTrouble() {
    List<String> trouble = new ArrayList<>(report.problems());
    report.blocked().forEach(b -> trouble.add("blocked " + b.tactic() + ": " + b.reason()));
    if (!trouble.isEmpty()) {
      element("h2", "Trouble");
      html.append("<ul>\n");
      trouble.forEach(line -> element("li", line));
      html.append("</ul>\n");
    }
  }

  private void appendEnvironment() {
    element("h2", "Environment");
    Map<String, String> rows = new LinkedHashMap<>();
    rows.put("moe4j", report.version());
    rows.put("checkpoint", report.checkpoint());
    rows.put("opened as", report.device());
    rows.putAll(report.environment());
    rows.put(
        report.device().equals("cpu") ? "threads" : "multiprocessors",
        Integer.toString(report.computeUnits()));
    rows.put("instruction sets", report.instructionSets());
    if (report.cache() != null) {
      rows.put("cache", report.cache());
    }
    html.append("<table class=\"environment\">\n<tbody>\n");
    rows.forEach(
        (name, value) -> {
          html.append("<tr>");
          element("th", "class=\"text\"", name);
          element("td", "class=\"text\"", value);
          html.append("</tr>\n");
        });
    html.append("</tbody></table>\n");
  }

  // ---- pieces

  private void element(String name, String text) {
    html.append('<').append(name).append('>').append(escape(text));
    html.append("</").append(name).append(">\n");
  }

  private void element(String name, String attributes, String text) {
    html.append('<').append(name).append(' ').append(attributes).append('>').append(escape(text));
    html.append("</").append(name).append(">\n");
  }

  private static String escape(String text) {
    return HtmlEscapers.htmlEscaper().escape(text);
  }

  private static String time(double nanos) {
    return Units.seconds(nanos / 1e9).replace(" us", " \u00b5s");
  }

  private static String percent(double part) {
    return String.format(Locale.ROOT, "%.0f%%", 100 * part);
  }

  private static String twoDecimals(double value) {
    return String.format(Locale.ROOT, "%.2f", value);
  }

  private static String capitalized(String word) {
    return Character.toUpperCase(word.charAt(0)) + word.substring(1);
  }
}
