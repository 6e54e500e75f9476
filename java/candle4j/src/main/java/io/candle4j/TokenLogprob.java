package io.candle4j;

import java.util.List;

/**
 * A token and its log-probability: the natural logarithm of the model's own probability, before
 * biases, penalties and temperature.
 *
 * @param id the token
 * @param logprob its log-probability
 * @param top the most probable tokens in its place, best first, as many as were asked for; their
 *     own lists are empty
 */
public record TokenLogprob(int id, float logprob, List<TokenLogprob> top) {

  /** Copies the list. */
  public TokenLogprob {
    top = List.copyOf(top);
  }
}
