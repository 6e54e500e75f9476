package io.candle4j.cli;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jline.utils.Signals;

/**
 * How large the terminal is that this process belongs to. Asked when needed, and when it changes.
 */
final class TerminalSize {
  private static final Pattern ANSWER = Pattern.compile("(\\d+) (\\d+)\\s*");
  private static final int LEAST_ROWS = 2;
  private static final int LEAST_COLUMNS = 20;

  private volatile boolean known;
  private boolean watched;
  private int rows = 24;
  private int columns = 80;

  int rows() {
    ask();
    return rows;
  }

  int columns() {
    ask();
    return columns;
  }

  private void ask() {
    if (known) {
      return;
    }
    if (!watched) {
      watched = true;
      Signals.register("WINCH", () -> known = false);
    }
    known = true;
    try {
      Process stty = new ProcessBuilder("stty", "size").redirectInput(new File("/dev/tty")).start();
      String answer = new String(stty.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
      Matcher size = ANSWER.matcher(answer);
      // A terminal that nobody gave a size has none.
      if (size.matches() && !size.group(2).equals("0")) {
        rows = Math.max(LEAST_ROWS, Integer.parseInt(size.group(1)));
        columns = Math.max(LEAST_COLUMNS, Integer.parseInt(size.group(2)));
      }
    } catch (IOException e) {
      // The usual size then.
    }
  }
}
