package io.moe4j.cli;

import com.google.common.html.HtmlEscapers;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.DoubleFunction;

/**
 * A line chart with two logarithmic axes, as an SVG element. Colors and fonts are the page's: every
 * part has a class.
 */
final class LogLogChart {
  private static final int LEFT = 62;
  private static final int RIGHT = 14;
  private static final int TOP = 12;
  private static final int BOTTOM = 44;

  /** Room that a label on the horizontal axis needs. */
  private static final int LABEL_WIDTH = 40;

  private final String xTitle;
  private final DoubleFunction<String> yLabel;
  private final List<Series> series = new ArrayList<>();
  private double minX = Double.MAX_VALUE;
  private double maxX;
  private double minY = Double.MAX_VALUE;
  private double maxY;

  /**
   * A point of a line; both coordinates are positive.
   *
   * @param title what is shown where it is pointed at
   */
  record Point(double x, double y, String title) {}

  private record Series(String cssClass, String title, List<Point> points) {}

  /**
   * A chart without lines.
   *
   * @param yLabel makes labels of values on the vertical axis
   */
  LogLogChart(String xTitle, DoubleFunction<String> yLabel) {
    this.xTitle = xTitle;
    this.yLabel = yLabel;
  }

  /** Adds a line; later ones lie above. */
  LogLogChart line(String cssClass, String title, List<Point> points) {
    series.add(new Series(cssClass, title, points));
    for (Point point : points) {
      minX = Math.min(minX, point.x());
      maxX = Math.max(maxX, point.x());
      minY = Math.min(minY, point.y());
      maxY = Math.max(maxY, point.y());
    }
    return this;
  }

  /** Whether there is anything to show. */
  boolean isEmpty() {
    return series.stream().allMatch(line -> line.points().isEmpty());
  }

  /** The element, for a place of this size in CSS pixels. */
  String toSvg(int width, int height) {
    Scale x = new Scale(minX, maxX, LEFT, width - RIGHT);
    Scale y = new Scale(minY, maxY, height - BOTTOM, TOP);
    StringBuilder svg = new StringBuilder();
    svg.append(
        format(
            "<svg class=\"chart\" role=\"img\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">%n",
            width, height, width, height));
    appendVerticalAxis(svg, y, width);
    appendHorizontalAxis(svg, x, width, height);
    series.forEach(line -> append(svg, line, x, y));
    return svg.append("</svg>\n").toString();
  }

  /** Where a value lies between two places, by its logarithm. */
  private record Scale(double min, double max, double from, double to) {
    Scale {
      // A single value lies in the middle; the others keep off the edges.
      double margin = min == max ? 2 : Math.pow(max / min, 0.04);
      min /= margin;
      max *= margin;
    }

    double at(double value) {
      return from + (to - from) * Math.log(value / min) / Math.log(max / min);
    }

    boolean has(double value) {
      return min <= value && value <= max;
    }
  }

  private void appendVerticalAxis(StringBuilder svg, Scale y, int width) {
    double decades = Math.log10(y.max() / y.min());
    for (int power = (int) Math.floor(Math.log10(y.min())); power <= Math.log10(y.max()); power++) {
      for (int digit : decades < 2.5 ? new int[] {1, 2, 5} : new int[] {1}) {
        double value = digit * Math.pow(10, power);
        if (y.has(value)) {
          double at = y.at(value);
          svg.append(line("grid", LEFT, at, width - RIGHT, at));
          svg.append(text("tick end", LEFT - 8, at + 4, yLabel.apply(value)));
        }
      }
    }
  }

  private void appendHorizontalAxis(StringBuilder svg, Scale x, int width, int height) {
    int bottom = height - BOTTOM;
    double lastLabel = Double.NEGATIVE_INFINITY;
    for (double value = 1; value <= x.max(); value *= 2) {
      if (x.has(value)) {
        double at = x.at(value);
        svg.append(line("grid", at, TOP, at, bottom));
        if (at - lastLabel >= LABEL_WIDTH) {
          svg.append(text("tick middle", at, bottom + 17, format("%.0f", value)));
          lastLabel = at;
        }
      }
    }
    svg.append(line("axis", LEFT, bottom, width - RIGHT, bottom));
    svg.append(text("tick middle", (LEFT + width - RIGHT) / 2.0, height - 8, xTitle));
  }

  private static void append(StringBuilder svg, Series line, Scale x, Scale y) {
    if (line.points().isEmpty()) {
      return;
    }
    svg.append("<g class=\"line ").append(line.cssClass()).append("\"><title>");
    svg.append(escape(line.title())).append("</title>\n<polyline points=\"");
    for (Point point : line.points()) {
      svg.append(format("%.1f,%.1f ", x.at(point.x()), y.at(point.y())));
    }
    svg.append("\"/>\n");
    for (Point point : line.points()) {
      svg.append(
          format(
              "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>%s</title></circle>%n",
              x.at(point.x()), y.at(point.y()), escape(point.title())));
    }
    svg.append("</g>\n");
  }

  private static String line(String cssClass, double x1, double y1, double x2, double y2) {
    return format(
        "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>%n",
        cssClass, x1, y1, x2, y2);
  }

  private static String text(String cssClass, double x, double y, String text) {
    return format(
        "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>%n", cssClass, x, y, escape(text));
  }

  private static String format(String format, Object... values) {
    return String.format(Locale.ROOT, format, values);
  }

  private static String escape(String text) {
    return HtmlEscapers.htmlEscaper().escape(text);
  }
}
