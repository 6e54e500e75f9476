package io.candle4j;

/** The type that a model's weights have in memory. */
public enum Precision {
  /** F16 on Metal, BF16 on CUDA, F32 on the CPU. */
  AUTO,
  /** 32 bits. */
  F32,
  /** 16 bits, 5 of them exponent. */
  F16,
  /** 16 bits, 8 of them exponent. */
  BF16
}
