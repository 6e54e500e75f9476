package io.candle4j;

import java.util.List;

/**
 * Log-probabilities of given tokens. Natural logarithms.
 *
 * @param logprobs of each token from the second on, given those before it
 * @param top the most probable tokens behind the last one, best first
 */
public record Score(float[] logprobs, List<TokenLogprob> top) {

  /** Copies the parts. */
  public Score {
    logprobs = logprobs.clone();
    top = List.copyOf(top);
  }

  /**
   * The natural logarithm of each token's probability given all before it, from the second on.
   *
   * @return a copy
   */
  @Override
  public float[] logprobs() {
    return logprobs.clone();
  }

  /**
   * A token and its log-probability.
   *
   * @param id the token
   * @param logprob the natural logarithm of its probability
   */
  public record TokenLogprob(int id, float logprob) {}
}
