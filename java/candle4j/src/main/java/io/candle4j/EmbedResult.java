package io.candle4j;

/** What became of one text of many. */
public sealed interface EmbedResult {

  /**
   * The vector, or what went wrong as an exception.
   *
   * @return the vector
   */
  Embedding orElseThrow();

  /**
   * A vector.
   *
   * @param embedding the vector
   */
  record Completed(Embedding embedding) implements EmbedResult {
    @Override
    public Embedding orElseThrow() {
      return embedding;
    }
  }

  /**
   * A failure, which touched no other text: {@link ContextFullException} for one that is too long
   * and may not be cut, {@link IllegalArgumentException} for one that is no Unicode text or has no
   * tokens.
   *
   * @param cause what went wrong
   */
  record Failed(RuntimeException cause) implements EmbedResult {
    @Override
    public Embedding orElseThrow() {
      throw cause;
    }
  }
}
