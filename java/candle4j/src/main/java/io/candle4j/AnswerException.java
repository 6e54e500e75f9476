package io.candle4j;

import java.util.Map;

/** An answer that does not become a value of the type that was asked for. */
public abstract sealed class AnswerException extends CandleException {
  private static final long serialVersionUID = 1L;

  private final transient Generation generation;

  private AnswerException(String message, Generation generation) {
    super(message, Map.of());
    this.generation = generation;
  }

  /**
   * What was generated, with the text as far as it came.
   *
   * @return the generation
   */
  public Generation generation() {
    return generation;
  }

  /**
   * The answer ended in the middle: at the limit of tokens, at a full context, at a stop text, in
   * time, or because it was cancelled.
   */
  public static final class Incomplete extends AnswerException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param generation what was generated
     */
    public Incomplete(String message, Generation generation) {
      super(message, generation);
    }
  }

  /** The type itself does not take the value, for instance its constructor throws. */
  public static final class Invalid extends AnswerException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param generation what was generated
     * @param cause what the type said
     */
    public Invalid(String message, Generation generation, Throwable cause) {
      super(message, generation);
      initCause(cause);
    }
  }
}
