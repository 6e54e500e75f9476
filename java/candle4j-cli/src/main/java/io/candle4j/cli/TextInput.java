package io.candle4j.cli;

import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;

/**
 * Texts of a file, one a line: as they are, or JSON objects with a {@code text} where the file is
 * named {@code .jsonl} or {@code .ndjson}. Read as they are needed. A line that is no text gives an
 * empty one and {@linkplain #takeProblem a problem}, and loses no other.
 */
final class TextInput implements Iterable<String>, AutoCloseable {
  private final String name;
  private final boolean json;
  private final InputStream in;
  private final Map<Long, String> problems = new ConcurrentHashMap<>();
  private long line;
  private long index;

  private TextInput(String name, boolean json, InputStream in) {
    this.name = name;
    this.json = json;
    this.in = new BufferedInputStream(in, 1 << 16);
  }

  /** Opens the file of {@code --in}; {@code -} is standard input. */
  static TextInput open(Path file) {
    String name = file.toString();
    if (name.equals("-")) {
      return new TextInput("standard input", false, System.in);
    }
    if (Files.isDirectory(file)) {
      throw new CommandException(ExitCode.USAGE, "--in: " + file + " is a folder");
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

  /** What is wrong with the text of an index, which names its line; null if nothing is. */
  @Nullable String takeProblem(long index) {
    return problems.remove(index);
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
        byte[] bytes = InputLines.read(in);
        if (bytes == null) {
          return null;
        }
        line++;
        String text = decoded(bytes);
        if (text == null || !json) {
          index++;
          return text == null ? "" : text;
        }
        if (!text.isBlank()) {
          String inside = textOf(text);
          index++;
          return inside;
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private @Nullable String decoded(byte[] bytes) {
    if (bytes.length > InputLines.LONGEST) {
      keep("too long");
      return null;
    }
    try {
      String text = StandardInput.decode(bytes);
      int begin = line == 1 && text.startsWith("\uFEFF") ? 1 : 0;
      return text.substring(begin, text.endsWith("\r") ? text.length() - 1 : text.length());
    } catch (CharacterCodingException e) {
      keep("not UTF-8");
      return null;
    }
  }

  private String textOf(String object) {
    try {
      JsonNode text = BatchInput.MAPPER.readTree(object).path("text");
      if (text.isString()) {
        return text.stringValue();
      }
      keep("expected an object with a text");
    } catch (JacksonException e) {
      keep("not JSON: " + e.getOriginalMessage());
    }
    return "";
  }

  private void keep(String reason) {
    problems.put(index, "--in: " + name + ": line " + line + ": " + reason);
  }

  @Override
  public void close() {
    try {
      in.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
