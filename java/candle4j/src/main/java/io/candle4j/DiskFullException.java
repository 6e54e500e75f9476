package io.candle4j;

import java.util.Map;

/** There is no room left where the cache lies. */
public final class DiskFullException extends HubException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public DiskFullException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
