package io.candle4j;

import io.candle4j.internal.NativeRuntime;

/** The native library and the machine. */
public final class CandleRuntime {
  private CandleRuntime() {}

  /**
   * What the library runs on. Loads the native library if it is not loaded yet, and fixes the
   * number of threads.
   *
   * @return the description
   * @throws NativeLibraryException when the library cannot be loaded
   * @throws IllegalArgumentException when {@code CANDLE_NUM_THREADS} or {@code RAYON_NUM_THREADS}
   *     hold no number from 1 to 1024, or {@code CANDLE4J_INSTRUCTIONS} no instruction set of this
   *     kind of processor
   */
  public static RuntimeInfo info() {
    NativeRuntime.Info info = NativeRuntime.info();
    return new RuntimeInfo(
        NativeRuntime.library(),
        info.version(),
        info.candle(),
        info.target(),
        info.threads(),
        info.instructionSets(),
        info.instructions(),
        info.defaultDevice(),
        info.devices());
  }

  /**
   * Changes the number of threads that a forward pass uses on the CPU, also while models compute.
   * Without it {@code CANDLE_NUM_THREADS} counts, else the processors that this process may use.
   * The threads of the {@link Engine#CANDLE} engine are Candle's own, as many as the environment
   * says.
   *
   * @param threads 1 to 1024
   * @throws IllegalArgumentException for fewer or more
   */
  public static void setThreads(int threads) {
    NativeRuntime.setThreads(threads);
  }
}
