package io.candle4j;

import java.util.Map;

/** The repository lacks a file that is needed. */
public final class ModelFileNotFoundException extends HubException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public ModelFileNotFoundException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
