package io.candle4j;

import java.io.Serializable;
import java.util.Objects;
import java.util.OptionalInt;

/**
 * Whether a model thinks before it answers, where its chat template has a choice.
 *
 * @param enabled whether it thinks
 * @param budget after how many tokens its thought is ended; empty for no limit
 */
public record Thinking(boolean enabled, OptionalInt budget) implements Serializable {
  /** The model thinks. */
  public static final Thinking ON = new Thinking(true, OptionalInt.empty());

  /** The model answers at once. */
  public static final Thinking OFF = new Thinking(false, OptionalInt.empty());

  /** Checks the budget. */
  public Thinking {
    Objects.requireNonNull(budget, "budget");
    if (budget.isPresent() && (!enabled || budget.getAsInt() < 1)) {
      throw new IllegalArgumentException(
          "budget: expected at least 1 token of thinking, got " + budget.getAsInt());
    }
  }

  /**
   * The model thinks, and ends its thought after so many tokens.
   *
   * @param tokens at least 1
   * @return the setting
   */
  public static Thinking budget(int tokens) {
    return new Thinking(true, OptionalInt.of(tokens));
  }

  /** An OptionalInt is not serializable. */
  private Object writeReplace() {
    return new Serialized(enabled, budget.orElse(0));
  }

  /** The same with 0 for no budget. */
  private record Serialized(boolean enabled, int budget) implements Serializable {
    private Object readResolve() {
      return new Thinking(enabled, budget == 0 ? OptionalInt.empty() : OptionalInt.of(budget));
    }
  }
}
