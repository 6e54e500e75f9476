package io.candle4j;

import java.util.Map;

/**
 * The model is well formed, but this library would not compute it rightly, so it is refused. The
 * message names the configuration key and its value.
 */
public final class UnsupportedModelException extends CandleException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public UnsupportedModelException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
