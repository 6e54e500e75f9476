package io.candle4j;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Something that went wrong in a way that is particular to models. Each kind is a class of its own.
 *
 * <p>Bad arguments are {@link IllegalArgumentException}, use after close is {@link
 * IllegalStateException}, what is stopped is {@link java.util.concurrent.CancellationException},
 * and failing files are {@link java.io.UncheckedIOException}. No message ever holds a secret.
 */
public class CandleException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** The things that the message names. */
  private final LinkedHashMap<String, String> detail;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public CandleException(String message, Map<String, String> detail) {
    super(message);
    this.detail = new LinkedHashMap<>(detail);
  }

  /**
   * The things that the message names, such as {@code key} and {@code value} of a configuration, or
   * the name of a {@code tensor}.
   *
   * @return names and values; empty when there are none
   */
  public Map<String, String> detail() {
    return Map.copyOf(detail);
  }
}
