package io.candle4j.cli;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/** Messages that another program sends. */
final class PipedInput implements ChatInput {
  private final BufferedReader reader;
  private boolean isFirst = true;

  PipedInput(InputStream in) {
    // A decoder, and not its charset, reports what is not UTF-8.
    reader = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8.newDecoder()));
  }

  @Override
  public @Nullable String next() {
    try {
      String text = reader.readLine();
      if (isFirst && text != null) {
        text = StandardInput.withoutMark(text);
      }
      isFirst = false;
      while (text != null && MultiLine.goesOn(text)) {
        String line = reader.readLine();
        if (line == null) {
          throw new CommandException(
              ExitCode.USAGE, "standard input ends in the middle of a message of several lines");
        }
        text += "\n" + line;
      }
      return text;
    } catch (CharacterCodingException e) {
      throw new CommandException(ExitCode.USAGE, "standard input is not UTF-8", e);
    } catch (IOException e) {
      throw new UncheckedIOException(
          new IOException("cannot read standard input: " + e.getMessage(), e));
    }
  }

  @Override
  public boolean isInteractive() {
    return false;
  }

  @Override
  public void close() {}
}
