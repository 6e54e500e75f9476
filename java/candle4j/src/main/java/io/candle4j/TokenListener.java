package io.candle4j;

/**
 * Told of each token as it is generated, on the thread that generates.
 *
 * <p>What a listener throws stops the generation and comes out of the call that it was given to. To
 * stop without an exception, call {@link CandleSession#cancel()}.
 */
@FunctionalInterface
public interface TokenListener {
  /**
   * Called with the next token.
   *
   * @param token the token
   */
  void onToken(Token token);
}
