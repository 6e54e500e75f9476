package io.candle4j;

/**
 * Told of each prompt of a batch that is done, on the thread that called {@link
 * CandleModel#generateAll}. What it throws stops the batch and comes out of the call.
 */
@FunctionalInterface
public interface BatchListener {
  /**
   * Called when a prompt is done.
   *
   * @param index the prompt's place in the list
   * @param done prompts that are done, this one included
   * @param total prompts in all
   */
  void onDone(int index, int done, int total);
}
