package io.candle4j.cli;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Text that is piped in. */
final class StandardInput {
  private StandardInput() {}

  /**
   * Reads all of it, without the line break at its end, which is that of the shell and not of the
   * text.
   */
  static String text(InputStream in) {
    return withoutEnd(() -> in.readAllBytes());
  }

  /** Something that reads. */
  private interface Reading {
    byte[] read() throws IOException;
  }

  private static String withoutEnd(Reading reading) {
    try {
      String text = decode(reading.read());
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
   * Text that may be piped in beside a prompt. A pipe may also be open without anybody who writes
   * to it, so the beginning is not waited for without end.
   */
  static final class Extra {
    private final CompletableFuture<Boolean> began = new CompletableFuture<>();
    private final CompletableFuture<byte[]> bytes = new CompletableFuture<>();

    private Extra() {}

    /** Begins to read. */
    static Extra read(InputStream in) {
      Extra extra = new Extra();
      // A daemon, because nothing ends a read of standard input.
      Thread.ofPlatform()
          .daemon()
          .name("candle-input")
          .start(() -> {
            try {
              int first = in.read();
              extra.began.complete(true);
              ByteArrayOutputStream all = new ByteArrayOutputStream();
              if (first >= 0) {
                all.write(first);
                in.transferTo(all);
              }
              extra.bytes.complete(all.toByteArray());
            } catch (IOException e) {
              extra.began.complete(true);
              extra.bytes.completeExceptionally(e);
            }
          });
      return extra;
    }

    /**
     * All of the text, as {@link StandardInput#text}.
     *
     * @param wait how long to wait for its beginning
     * @return the text; nothing when it did not begin in time
     */
    Optional<String> text(Duration wait) {
      try {
        began.get(wait.toMillis(), TimeUnit.MILLISECONDS);
        return Optional.of(
            withoutEnd(() -> {
              try {
                return bytes.join();
              } catch (CompletionException e) {
                throw new IOException(e.getCause());
              }
            }));
      } catch (TimeoutException e) {
        return Optional.empty();
      } catch (InterruptedException | ExecutionException e) {
        throw new AssertionError("nobody interrupts the main thread", e);
      }
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
