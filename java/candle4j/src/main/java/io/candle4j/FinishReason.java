package io.candle4j;

/** Why a generation ended. */
public enum FinishReason {
  /** The model said that it is done. */
  STOP,
  /** The limit of tokens, or the end of the context, was reached. */
  LENGTH,
  /** One of the stop texts occurred; it is not part of the text. */
  STOP_STRING,
  /** Somebody asked to stop. */
  CANCELLED,
  /** The time that {@link GenerateOptions.Builder#timeout} allows was over. */
  TIMEOUT
}
