package io.candle4j;

import java.util.Map;

/** The model has no chat template, or its template cannot render these messages. */
public final class ChatTemplateException extends CandleException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public ChatTemplateException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
