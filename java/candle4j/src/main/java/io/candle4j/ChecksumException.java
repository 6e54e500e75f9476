package io.candle4j;

import java.util.Map;

/** Downloaded bytes do not have the promised hash or size. Nothing of them is kept. */
public final class ChecksumException extends HubException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public ChecksumException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
