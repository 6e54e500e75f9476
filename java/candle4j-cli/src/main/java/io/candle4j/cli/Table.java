package io.candle4j.cli;

import java.util.ArrayList;
import java.util.List;

/** Columns under headings. */
final class Table {
  /** Where a column's content stands. */
  enum Side {
    LEFT,
    RIGHT
  }

  private final List<Side> sides = new ArrayList<>();
  private final List<String> headings = new ArrayList<>();
  private final List<List<String>> rows = new ArrayList<>();

  Table column(String heading, Side side) {
    headings.add(heading);
    sides.add(side);
    return this;
  }

  void row(String... cells) {
    rows.add(List.of(cells));
  }

  void print(Sink out) {
    int[] widths = new int[headings.size()];
    for (int i = 0; i < widths.length; i++) {
      int column = i;
      widths[i] =
          Math.max(
              headings.get(i).length(),
              rows.stream().mapToInt(row -> row.get(column).length()).max().orElse(0));
    }
    out.print(Style.STRONG, line(headings, widths));
    out.println();
    for (List<String> row : rows) {
      out.println(line(row, widths));
    }
  }

  private String line(List<String> cells, int[] widths) {
    StringBuilder line = new StringBuilder();
    for (int i = 0; i < widths.length; i++) {
      String space = " ".repeat(widths[i] - cells.get(i).length());
      line.append(i == 0 ? "" : "  ");
      line.append(sides.get(i) == Side.LEFT ? cells.get(i) + space : space + cells.get(i));
    }
    return line.toString().stripTrailing();
  }
}
