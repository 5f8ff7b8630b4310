package io.moe4j.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;

/** A table for people: columns as wide as their widest cell, two spaces apart. */
final class TextTable {
  private final List<Column> columns = new ArrayList<>();
  private final List<List<String>> rows = new ArrayList<>();

  private record Column(String header, boolean number) {}

  /** Adds a column of text, aligned to the left. */
  TextTable text(String header) {
    columns.add(new Column(header, false));
    return this;
  }

  /** Adds a column of numbers, aligned to the right. */
  TextTable number(String header) {
    columns.add(new Column(header, true));
    return this;
  }

  /** Adds a row, a cell for each column. */
  TextTable row(String... cells) {
    rows.add(List.of(cells));
    return this;
  }

  /** Prints the header and the rows, each line behind {@code indent}. */
  void print(PrintWriter out, String indent) {
    printRow(out, indent, columns.stream().map(Column::header).toList());
    rows.forEach(row -> printRow(out, indent, row));
  }

  private void printRow(PrintWriter out, String indent, List<String> cells) {
    StringBuilder line = new StringBuilder(indent);
    for (int c = 0; c < columns.size(); c++) {
      String padding = " ".repeat(width(c) - cells.get(c).length());
      line.append(columns.get(c).number() ? padding + cells.get(c) : cells.get(c) + padding);
      line.append("  ");
    }
    out.println(line.toString().stripTrailing());
  }

  private int width(int column) {
    int width = columns.get(column).header().length();
    for (List<String> row : rows) {
      width = Math.max(width, row.get(column).length());
    }
    return width;
  }
}
