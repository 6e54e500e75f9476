package io.candle4j;

import java.util.Map;

/** Another call on the same session is under way, maybe the one whose listener made this call. */
public final class SessionBusyException extends CandleException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public SessionBusyException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
