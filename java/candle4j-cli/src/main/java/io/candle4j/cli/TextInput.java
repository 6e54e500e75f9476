package io.candle4j.cli;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.NoSuchElementException;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;

/**
 * Texts of a file, one a line: as they are, or JSON objects with a {@code text} where the file is
 * named {@code .jsonl} or {@code .ndjson}. Read as they are needed.
 */
final class TextInput implements Iterable<String>, AutoCloseable {
  private final String name;
  private final boolean json;
  private final BufferedReader reader;
  private long line;

  private TextInput(String name, boolean json, InputStream in) {
    this.name = name;
    this.json = json;
    this.reader =
        new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8.newDecoder()), 1 << 16);
  }

  /** Opens the file of {@code --in}; {@code -} is standard input. */
  static TextInput open(Path file) {
    String name = file.toString();
    if (name.equals("-")) {
      return new TextInput("standard input", false, System.in);
    }
    boolean json = name.endsWith(".jsonl") || name.endsWith(".ndjson");
    try {
      return new TextInput(name, json, Files.newInputStream(file));
    } catch (NoSuchFileException e) {
      throw InputFile.failure("--in", file, "no such file", e);
    } catch (IOException e) {
      throw InputFile.failure("--in", file, "cannot be read: " + e.getMessage(), e);
    }
  }

  @Override
  public Iterator<String> iterator() {
    return new Iterator<>() {
      private @Nullable String next = read();

      @Override
      public boolean hasNext() {
        return next != null;
      }

      @Override
      public String next() {
        String text = next;
        if (text == null) {
          throw new NoSuchElementException();
        }
        next = read();
        return text;
      }
    };
  }

  private @Nullable String read() {
    try {
      while (true) {
        String text = reader.readLine();
        line++;
        if (text == null) {
          return null;
        }
        if (!json) {
          return text;
        }
        if (!text.isBlank()) {
          return textOf(text);
        }
      }
    } catch (CharacterCodingException e) {
      throw wrong("not UTF-8", e);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private String textOf(String object) {
    JsonNode text;
    try {
      text = BatchInput.MAPPER.readTree(object).path("text");
    } catch (JacksonException e) {
      throw wrong("not JSON: " + e.getOriginalMessage(), e);
    }
    if (!text.isString()) {
      throw wrong("expected an object with a text", null);
    }
    return text.stringValue();
  }

  private CommandException wrong(String reason, @Nullable Throwable cause) {
    return new CommandException(
        ExitCode.USAGE, "--in: " + name + ": line " + line + ": " + reason, cause);
  }

  @Override
  public void close() {
    try {
      reader.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
