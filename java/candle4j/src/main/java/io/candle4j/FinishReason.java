package io.candle4j;

/** Why a generation ended. */
public enum FinishReason {
  /** The model said that it is done. */
  STOP,
  /** The model said that it is done, and waits for the tools that it called. */
  TOOL_CALLS,
  /**
   * The limit of tokens was reached, {@link GenerateOptions.Builder#maxTokens} or the model's own.
   */
  LENGTH,
  /** The model's context has room for no more tokens. */
  CONTEXT_FULL,
  /** One of the stop texts occurred; it is not part of the text. */
  STOP_STRING,
  /** Somebody asked to stop. */
  CANCELLED,
  /** The time that {@link Request.Builder#timeout} allows was over. */
  TIMEOUT
}
