package io.candle4j;

/**
 * Receives the results of a batch as they come, on the thread that called {@link
 * CandleModel#generateAll}. What it throws stops the batch and comes out of the call.
 */
@FunctionalInterface
public interface BatchListener {
  /**
   * Called when a request is done.
   *
   * @param index the request's place in the list
   * @param result its result
   * @param done requests that are done, this one included
   * @param total requests in all
   */
  void onResult(int index, BatchResult result, int done, int total);
}
