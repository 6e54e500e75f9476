package io.candle4j;

/**
 * The type that a folder's model computes in, and that its weights are converted to. Only the
 * {@code fused} engine keeps weights of 16 bits as they are when it computes in 32 bits on the CPU:
 * it widens them as they are multiplied, which gives the same.
 */
public enum Precision {
  /**
   * F16 on Metal, BF16 on CUDA, F32 on the CPU, where weights that a file holds in fewer bits keep
   * 8 or 16 of them.
   */
  AUTO,
  /** 32 bits; of weights that a folder holds in fewer bits, too, so that nothing is rounded. */
  F32,
  /** 16 bits, 5 of them exponent. */
  F16,
  /** 16 bits, 8 of them exponent. */
  BF16
}
