package io.candle4j;

/**
 * A format of few bits that the weights of a folder can be turned into while they are read. The
 * names are llama.cpp's: the bits of a weight, and how blocks of them share their scales.
 */
public enum Quantization {
  /** 8 bits in blocks of 32: next to no loss. */
  Q8_0,
  /** 6 bits in blocks of 256. */
  Q6_K,
  /** 5 bits in blocks of 256. */
  Q5_K,
  /** 4 bits in blocks of 256. */
  Q4_K,
  /** 4 bits in blocks of 32. */
  Q4_0,
  /**
   * Integers of 16 bits, a scale a row: what is multiplied with them is rounded, too, so that
   * products are those of integers, faster than those of floating point numbers. Vectors stay the
   * same to about the sixth digit. For {@link CandleEmbedder} and {@link CandleReranker} with
   * encoders.
   */
  I16
}
