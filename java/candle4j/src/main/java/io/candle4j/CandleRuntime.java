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
        info.defaultDevice(),
        info.devices());
  }

  /**
   * Fixes the number of threads that a forward pass uses on the CPU. To be called before anything
   * else; otherwise {@code CANDLE_NUM_THREADS} counts, else the processors that this process may
   * use.
   *
   * @param threads at least 1
   * @throws IllegalArgumentException for fewer, and when another number is in use already
   */
  public static void setThreads(int threads) {
    NativeRuntime.setThreads(threads);
  }
}
