package io.candle4j;

import java.util.List;

/**
 * How probable the model took a new token, and what else it could have been. Natural logarithms of
 * the model's own probabilities, before biases, penalties and temperature.
 *
 * @param id the token
 * @param logprob its log-probability
 * @param top the most probable tokens in its place, best first, as many as were asked for
 */
public record TokenLogprobs(int id, float logprob, List<Score.TokenLogprob> top) {

  /** Copies the list. */
  public TokenLogprobs {
    top = List.copyOf(top);
  }
}
