package io.candle4j;

/** Which implementation of a model runs. */
public enum Engine {
  /** {@link #FUSED} on the CPU and on CUDA, {@link #CANDLE} on Metal. */
  AUTO,
  /** Candle's ready-made models. What they would compute wrongly is refused by name. */
  CANDLE,
  /** candle4j's own decoder on Candle's tensors, which computes every configuration it knows. */
  FUSED
}
