package io.candle4j;

import java.util.Map;

/** The Hub wants a token, or refuses the one it got. */
public final class UnauthorizedException extends HubException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public UnauthorizedException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
