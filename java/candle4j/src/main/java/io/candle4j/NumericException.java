package io.candle4j;

import java.util.Map;

/** NaN or infinity in weights or logits. */
public final class NumericException extends CandleException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public NumericException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
