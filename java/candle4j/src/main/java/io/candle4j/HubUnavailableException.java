package io.candle4j;

import java.util.Map;

/** The Hub cannot be reached, does not answer in time, or answers nonsense. */
public final class HubUnavailableException extends HubException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public HubUnavailableException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
