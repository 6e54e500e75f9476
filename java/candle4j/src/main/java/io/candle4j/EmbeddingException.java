package io.candle4j;

import java.util.List;
import java.util.Map;

/** Some of many texts have no vector. The others have theirs, which this keeps. */
public final class EmbeddingException extends CandleException {
  private static final long serialVersionUID = 1L;

  private final int index;

  @SuppressWarnings("serial")
  private final transient List<EmbedResult> results;

  /**
   * Made by the library.
   *
   * @param index the first text without a vector
   * @param results what became of each text
   * @param cause what went wrong with that one
   */
  public EmbeddingException(int index, List<EmbedResult> results, RuntimeException cause) {
    super("texts[" + index + "]: " + cause.getMessage(), Map.of("index", Integer.toString(index)));
    initCause(cause);
    this.index = index;
    this.results = List.copyOf(results);
  }

  /**
   * The number of the first text without a vector.
   *
   * @return from 0 on
   */
  public int index() {
    return index;
  }

  /**
   * What became of each text, in order.
   *
   * @return as many as there were texts
   */
  public List<EmbedResult> results() {
    return results;
  }
}
