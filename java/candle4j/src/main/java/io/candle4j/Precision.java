package io.candle4j;

/**
 * The type that a folder's model computes in, and that its weights are converted to. Only the
 * {@code fused} engine keeps weights of 16 bits as they are when it computes in 32 bits on the CPU:
 * it widens them as they are multiplied, which gives the same.
 */
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
