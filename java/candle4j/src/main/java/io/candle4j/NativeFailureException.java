package io.candle4j;

import java.util.Map;

/**
 * Something failed inside the native library that should not. After a panic, the object that it
 * happened in can only be closed; others go on.
 */
public final class NativeFailureException extends CandleException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public NativeFailureException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
