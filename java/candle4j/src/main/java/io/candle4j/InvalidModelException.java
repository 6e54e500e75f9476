package io.candle4j;

import java.util.Map;

/**
 * The model's files contradict each other, are damaged, or lack something. The message names the
 * file, key or tensor, what was expected and what was found.
 */
public final class InvalidModelException extends CandleException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public InvalidModelException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
