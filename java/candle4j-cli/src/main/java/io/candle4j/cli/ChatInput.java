package io.candle4j.cli;

import org.jspecify.annotations.Nullable;

/** Where a conversation's messages come from. */
interface ChatInput extends AutoCloseable {
  /**
   * Waits for the next message or command.
   *
   * @return it, or null when there are no more
   */
  @Nullable String next();

  /** Called around an answer, during which nothing is read. */
  default void answering(boolean begun) {}

  /** Whether a person types, who can go on after a failure. */
  boolean isInteractive();

  @Override
  void close();
}
