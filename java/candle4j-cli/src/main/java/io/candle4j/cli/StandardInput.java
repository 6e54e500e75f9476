package io.candle4j.cli;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/** Text that is piped in. */
final class StandardInput {
  private StandardInput() {}

  /**
   * Reads all of it, without the line break at its end, which is that of the shell and not of the
   * text.
   */
  static String text(InputStream in) {
    try {
      String text = decode(in.readAllBytes());
      int end = text.length();
      if (end > 0 && text.charAt(end - 1) == '\n') {
        end--;
        if (end > 0 && text.charAt(end - 1) == '\r') {
          end--;
        }
      }
      return text.substring(0, end);
    } catch (CharacterCodingException e) {
      throw new CommandException(ExitCode.USAGE, "standard input is not UTF-8", e);
    } catch (IOException e) {
      throw new UncheckedIOException(
          new IOException("cannot read standard input: " + e.getMessage(), e));
    }
  }

  /**
   * Decodes UTF-8. A byte order mark in front is none of the text.
   *
   * @throws CharacterCodingException when it is something else, rather than to change it silently
   */
  static String decode(byte[] bytes) throws CharacterCodingException {
    return withoutMark(
        StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString());
  }

  /** A text without the byte order mark that some programs put in front. */
  static String withoutMark(String text) {
    return text.startsWith("\uFEFF") ? text.substring(1) : text;
  }
}
