package io.candle4j.cli;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.TreeMap;
import java.util.function.Consumer;

/** The output of a batch: lines come in any order and go out in that of the input. */
final class BatchOutput implements AutoCloseable {
  private final Consumer<String> lines;
  private final OutputStream stream;
  private final TreeMap<Long, String> waiting = new TreeMap<>();
  private long next;

  private BatchOutput(Consumer<String> lines, OutputStream stream) {
    this.lines = lines;
    this.stream = stream;
  }

  static BatchOutput to(Sink sink) {
    return new BatchOutput(sink::println, OutputStream.nullOutputStream());
  }

  /**
   * Opens a file, which is made when it is not there.
   *
   * @param append whether what it has is kept
   */
  static BatchOutput to(Path file, boolean append) {
    try {
      OutputStream stream =
          Files.newOutputStream(
              file,
              StandardOpenOption.CREATE,
              StandardOpenOption.WRITE,
              append ? StandardOpenOption.APPEND : StandardOpenOption.TRUNCATE_EXISTING);
      return new BatchOutput(line -> write(stream, line), stream);
    } catch (IOException e) {
      throw new CommandException(ExitCode.USAGE, "cannot write " + file + ": " + e.getMessage(), e);
    }
  }

  /** A line at once, so that an interruption leaves no half of one. */
  private static void write(OutputStream stream, String line) {
    try {
      stream.write((line + "\n").getBytes(StandardCharsets.UTF_8));
    } catch (IOException e) {
      throw new UncheckedIOException(
          new IOException("cannot write the output: " + e.getMessage(), e));
    }
  }

  /**
   * Takes the line of an item, and writes all whose turn it is.
   *
   * @return how many were written
   */
  synchronized int put(long index, String line) {
    waiting.put(index, line);
    int written = 0;
    for (String due; (due = waiting.remove(next)) != null; next++) {
      lines.accept(due);
      written++;
    }
    return written;
  }

  /** Writes what still waits for lines that will not come. */
  synchronized void putRest() {
    waiting.values().forEach(lines);
    waiting.clear();
  }

  @Override
  public void close() {
    try {
      stream.close();
    } catch (IOException e) {
      throw new UncheckedIOException(
          new IOException("cannot write the output: " + e.getMessage(), e));
    }
  }
}
