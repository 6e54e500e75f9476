package io.candle4j;

import java.util.Map;

/**
 * A model goes on calling tools after as many rounds as {@link CandleChat.Builder#maxToolRounds}
 * allows.
 */
public final class ToolLimitException extends CandleException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param rounds how many rounds there were
   */
  public ToolLimitException(int rounds) {
    super(
        "maxToolRounds: the model still calls tools after " + rounds + " rounds",
        Map.of("rounds", Integer.toString(rounds)));
  }
}
