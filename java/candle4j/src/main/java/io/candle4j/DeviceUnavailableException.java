package io.candle4j;

import java.util.Map;

/** The device is not there, or this build of the native library cannot use it. */
public final class DeviceUnavailableException extends CandleException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public DeviceUnavailableException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
