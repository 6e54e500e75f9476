package io.candle4j;

import java.util.List;

/**
 * Log-probabilities of given tokens.
 *
 * @param logprobs of each token from the second on, given those before it
 * @param top the most probable tokens behind the last one, best first
 */
public record Score(List<TokenLogprob> logprobs, List<TokenLogprob> top) {

  /** Copies the lists. */
  public Score {
    logprobs = List.copyOf(logprobs);
    top = List.copyOf(top);
  }
}
