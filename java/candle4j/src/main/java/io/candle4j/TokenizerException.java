package io.candle4j;

import java.util.Map;

/** The tokenizer cannot encode or decode. */
public final class TokenizerException extends CandleException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public TokenizerException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
