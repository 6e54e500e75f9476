package io.candle4j.cli;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.Locale;

/**
 * Standard output or standard error. Every call writes at once: an answer is to be seen while it is
 * generated.
 *
 * <p>Text goes out as it is, but a terminal gets no control characters: what a model says, or what
 * a file is called, must not steer it.
 */
final class Sink {
  /** Where nobody reads. */
  static final Sink NOWHERE =
      new Sink(
          OutputStream.nullOutputStream(), StandardCharsets.UTF_8, Descriptors.ERR, false, false);

  private final OutputStream stream;
  private final Charset charset;
  private final int descriptor;
  private final boolean terminal;
  private final boolean coloured;

  /**
   * Wraps a stream.
   *
   * @param descriptor its number in the operating system
   * @param terminal whether a person reads it
   * @param coloured whether that person likes colours
   */
  Sink(OutputStream stream, Charset charset, int descriptor, boolean terminal, boolean coloured) {
    this.stream = stream;
    this.charset = charset;
    this.descriptor = descriptor;
    this.terminal = terminal;
    this.coloured = coloured;
  }

  boolean isTerminal() {
    return terminal;
  }

  boolean isColoured() {
    return coloured;
  }

  /**
   * Prints a text.
   *
   * @throws SinkClosedException when nobody reads it any more
   * @throws UncheckedIOException when it cannot be written for another reason
   */
  void print(Style style, String text) {
    if (text.isEmpty()) {
      return;
    }
    String shown = terminal ? harmless(text) : text;
    write(coloured ? style.around(shown) : shown);
  }

  void print(String text) {
    print(Style.PLAIN, text);
  }

  void println(String text) {
    print(Style.PLAIN, text + "\n");
  }

  void println() {
    print(Style.PLAIN, "\n");
  }

  /** Steers the terminal. */
  void steer(String sequences) {
    write(sequences);
  }

  /** For libraries that print: what they write passes as it is, their escape sequences too. */
  PrintWriter writer() {
    return new PrintWriter(
        new Writer() {
          @Override
          public void write(char[] text, int from, int length) {
            Sink.this.write(new String(text, from, length));
          }

          @Override
          public void flush() {}

          @Override
          public void close() {}
        });
  }

  private synchronized void write(String text) {
    try {
      stream.write(text.getBytes(charset));
      stream.flush();
    } catch (IOException e) {
      throw isReaderGone(e) ? new SinkClosedException(e) : cannotWrite(e);
    }
  }

  private boolean isReaderGone(IOException e) {
    // The message is translated on some systems, but on those the kind of the stream is known.
    String message = e.getMessage();
    return Descriptors.isPipe(descriptor)
        || (message != null && message.toLowerCase(Locale.ROOT).contains("pipe"));
  }

  private static UncheckedIOException cannotWrite(IOException e) {
    return new UncheckedIOException(
        new IOException("cannot write the output: " + e.getMessage(), e));
  }

  /** The text without characters that would steer a terminal. */
  static String harmless(String text) {
    StringBuilder shown = null;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (Character.isISOControl(c) && c != '\n' && c != '\t') {
        if (shown == null) {
          shown = new StringBuilder(text);
        }
        shown.setCharAt(i, '\uFFFD');
      }
    }
    return shown == null ? text : shown.toString();
  }
}
