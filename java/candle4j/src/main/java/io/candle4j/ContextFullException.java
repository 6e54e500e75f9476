package io.candle4j;

import java.util.Map;

/** A prompt, or a prompt and the first token of its answer, exceed the model's context. */
public final class ContextFullException extends CandleException {
  private static final long serialVersionUID = 1L;

  /** Tokens that were to be in the context. */
  private final int needed;

  /** Tokens that the context holds. */
  private final int limit;

  /**
   * Made by the library.
   *
   * @param message what is wrong
   * @param needed tokens that were to be in the context
   * @param limit tokens that the context holds
   */
  public ContextFullException(String message, int needed, int limit) {
    super(message, Map.of("needed", Integer.toString(needed), "limit", Integer.toString(limit)));
    this.needed = needed;
    this.limit = limit;
  }

  /**
   * How many tokens were to be in the context.
   *
   * @return the number
   */
  public int needed() {
    return needed;
  }

  /**
   * How many tokens the context holds.
   *
   * @return the number
   */
  public int limit() {
    return limit;
  }
}
