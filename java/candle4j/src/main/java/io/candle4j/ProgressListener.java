package io.candle4j;

/**
 * Told how far an operation is, several times a second, on the thread that called it; while weights
 * are read into memory, on a thread of the library.
 *
 * <p>What a listener throws stops the operation and comes out of the call that it was given to; a
 * download stopped so goes on from there the next time.
 */
@FunctionalInterface
public interface ProgressListener {
  /**
   * Called with the next report.
   *
   * @param progress the report
   */
  void onProgress(Progress progress);
}
