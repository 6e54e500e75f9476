package io.candle4j;

/** Receives the vectors of many texts, in their order. */
@FunctionalInterface
public interface EmbedListener {
  /**
   * Called for each text, in order, on the thread of the call.
   *
   * @param index the text's number, from 0
   * @param text the text
   * @param result its vector, or what went wrong with it
   */
  void onResult(long index, String text, EmbedResult result);
}
