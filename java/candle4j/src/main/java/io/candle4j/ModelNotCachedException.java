package io.candle4j;

import java.util.Map;

/** The model is not in the cache, and the Hub may not be asked because of offline mode. */
public final class ModelNotCachedException extends HubException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public ModelNotCachedException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
