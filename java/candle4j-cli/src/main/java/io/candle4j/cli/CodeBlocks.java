package io.candle4j.cli;

import java.util.function.BiConsumer;

/**
 * Tells code in an answer from words, while it comes: what stands between two lines that begin with
 * three backticks. A line that may become such a one is held back until that is clear.
 */
final class CodeBlocks {
  private static final String FENCE = "```";

  private final BiConsumer<Style, String> out;
  private final StringBuilder line = new StringBuilder();
  private boolean inCode;

  /** Whether what comes belongs to the line that began before, of which this is no fence. */
  private boolean inLine;

  /**
   * Begins.
   *
   * @param out gets texts and how they look
   */
  CodeBlocks(BiConsumer<Style, String> out) {
    this.out = out;
  }

  /** Takes the next piece. */
  void print(String text) {
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      line.append(c);
      if (c == '\n') {
        endLine();
      }
    }
    if (inLine || !mayBeFence()) {
      flush();
    }
  }

  /** Prints what is held back. */
  void finish() {
    if (isFence()) {
      endLine();
    } else {
      flush();
    }
  }

  private void endLine() {
    if (!inLine && isFence()) {
      out.accept(Style.FAINT, line.toString());
      line.setLength(0);
      inCode = !inCode;
    } else {
      flush();
    }
    inLine = false;
  }

  private void flush() {
    if (!line.isEmpty()) {
      inLine = true;
      out.accept(inCode ? Style.CODE : Style.ANSWER, line.toString());
      line.setLength(0);
    }
  }

  private boolean isFence() {
    return !inLine && line.toString().stripLeading().startsWith(FENCE);
  }

  /** A fence is told by its beginning; the name of a language may follow. */
  private boolean mayBeFence() {
    String begin = line.toString().stripLeading();
    return begin.startsWith(FENCE) || FENCE.startsWith(begin);
  }
}
