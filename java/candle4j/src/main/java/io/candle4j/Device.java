package io.candle4j;

/** Where a model runs. */
public enum Device {
  /** Metal on macOS, else the CPU. */
  AUTO,
  /** The CPU. */
  CPU,
  /** Apple's GPU. */
  METAL,
  /** The first NVIDIA GPU. */
  CUDA
}
