package io.candle4j;

import java.util.Map;

/** The Hub has no such repository, or hides it from this token. */
public final class ModelNotFoundException extends HubException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public ModelNotFoundException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
