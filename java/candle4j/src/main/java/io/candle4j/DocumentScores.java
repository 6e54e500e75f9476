package io.candle4j;

import java.util.List;

/**
 * The scores of a document for a query.
 *
 * @param scores one a label, see {@link RerankerInfo#labels()}
 * @param tokens tokens of query and document that were read, those around them included
 * @param leftOut tokens that did not fit
 */
public record DocumentScores(List<Float> scores, int tokens, int leftOut) {
  /** Copies the list. */
  public DocumentScores {
    scores = List.copyOf(scores);
  }

  /**
   * The first score, which is the only one of a plain reranker.
   *
   * @return the score
   */
  public float score() {
    return scores.getFirst();
  }
}
