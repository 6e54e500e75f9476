package io.candle4j;

import java.util.Map;

/** Access to the repository must be asked for first; the message says where. */
public final class GatedModelException extends HubException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public GatedModelException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
