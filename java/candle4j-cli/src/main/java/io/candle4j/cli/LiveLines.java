package io.candle4j.cli;

import java.util.List;

/**
 * A few lines at the bottom of standard error that change in place, such as bars.
 *
 * <p>Drawn with three escape sequences that all terminals know. A library for it would take hold of
 * standard input as well, and refuse when that is a file.
 */
final class LiveLines {
  /** Lines that nobody sees. */
  static final LiveLines NONE = new LiveLines(Sink.NOWHERE, false);

  private final Sink sink;
  private final boolean enabled;
  private final TerminalSize size = new TerminalSize();
  private List<String> shown = List.of();
  private int drawn;

  /**
   * Makes an empty area.
   *
   * @param sink what it is drawn on
   * @param enabled whether anything is ever to be shown
   */
  LiveLines(Sink sink, boolean enabled) {
    this.sink = sink;
    this.enabled = enabled;
  }

  /** Whether lines are seen at all. */
  boolean isEnabled() {
    return enabled;
  }

  /** How long a line can be. */
  synchronized int columns() {
    // Behind a character in the last column, terminals disagree where the cursor is. And the echo
    // of
    // Ctrl-C, two characters, must not begin a new line.
    return size.columns() - 3;
  }

  /** Replaces the lines that are shown. When there are too many for the terminal, the last ones. */
  synchronized void show(List<String> lines) {
    if (enabled) {
      int rows = size.rows() - 1;
      shown = List.copyOf(lines.subList(Math.max(0, lines.size() - rows), lines.size()));
      draw(shown);
    }
  }

  /** Prints something else, which appears above the lines. */
  synchronized void aside(Runnable print) {
    draw(List.of());
    print.run();
    draw(shown);
  }

  /** Takes the lines away. */
  synchronized void clear() {
    shown = List.of();
    draw(shown);
  }

  private void draw(List<String> lines) {
    StringBuilder drawing = new StringBuilder();
    if (drawn > 0) {
      drawing.append('\r');
      if (drawn > 1) {
        drawing.append("\033[").append(drawn - 1).append('A');
      }
      drawing.append("\033[J");
    }
    int columns = lines.isEmpty() ? 0 : columns();
    for (int i = 0; i < lines.size(); i++) {
      String line = Sink.harmless(lines.get(i));
      drawing.append(i == 0 ? "" : "\n");
      drawing.append(line, 0, Math.min(line.length(), columns));
    }
    drawn = lines.size();
    if (!drawing.isEmpty()) {
      sink.steer(drawing.toString());
    }
  }
}
