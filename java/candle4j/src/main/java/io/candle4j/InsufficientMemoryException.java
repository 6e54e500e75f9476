package io.candle4j;

import java.util.Map;

/**
 * The model would not fit into the memory that is available. Nothing was allocated; the message has
 * both sizes.
 */
public final class InsufficientMemoryException extends CandleException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public InsufficientMemoryException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
