package io.candle4j;

import java.util.Map;

/**
 * The model has as many requests under way or waiting as it takes at a time, see {@link
 * CandleModel.Builder#maxRequests}. The session stays as it was.
 */
public final class QueueFullException extends CandleException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public QueueFullException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
