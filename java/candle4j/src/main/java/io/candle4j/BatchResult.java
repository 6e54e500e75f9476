package io.candle4j;

/** What became of one prompt of many. */
public sealed interface BatchResult {

  /**
   * The generation, or what went wrong as an exception.
   *
   * @return the generation
   */
  Generation orElseThrow();

  /**
   * An answer.
   *
   * @param generation the answer
   */
  record Completed(Generation generation) implements BatchResult {
    @Override
    public Generation orElseThrow() {
      return generation;
    }
  }

  /**
   * A failure, which touched no other prompt.
   *
   * @param cause what went wrong
   */
  record Failed(RuntimeException cause) implements BatchResult {
    @Override
    public Generation orElseThrow() {
      throw cause;
    }
  }
}
