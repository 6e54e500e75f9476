package io.candle4j.cli;

/** Messages of several lines: between {@code """}, or with a backslash before each line break. */
final class MultiLine {
  private static final String FENCE = "\"\"\"";

  private MultiLine() {}

  /**
   * Whether the text, which may be a command with a message behind it, goes on in the next line.
   */
  static boolean goesOn(String text) {
    String message = text.replaceFirst("^\\s*/[a-z]+\\s+", "");
    return isFenced(message) ? !isClosed(message) : message.endsWith("\\");
  }

  /** What a complete text says. */
  static String message(String text) {
    if (!isFenced(text)) {
      return text.replace("\\\n", "\n");
    }
    String inside = text.strip();
    inside = inside.substring(FENCE.length(), inside.length() - FENCE.length());
    return inside.replaceFirst("^\n", "").replaceFirst("\n$", "");
  }

  private static boolean isFenced(String text) {
    return text.stripLeading().startsWith(FENCE);
  }

  private static boolean isClosed(String text) {
    String stripped = text.strip();
    return stripped.length() >= 2 * FENCE.length() && stripped.endsWith(FENCE);
  }
}
