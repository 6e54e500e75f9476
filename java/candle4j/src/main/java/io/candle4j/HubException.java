package io.candle4j;

import java.util.Map;

/** A model could not be fetched from the Hugging Face Hub. */
public class HubException extends CandleException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public HubException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
