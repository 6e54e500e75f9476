package io.candle4j.server;

import io.candle4j.CandleModel;
import io.candle4j.PrefixCache;

/** A loaded model that generates, and the conversations that it has computed. */
record ChatResident(CandleModel model, PrefixCache prefixes) implements AutoCloseable {
  /** Conversations that stay computed when memory allows. */
  private static final int PREFIXES = 32;

  static ChatResident of(CandleModel model) {
    return new ChatResident(model, new PrefixCache(PREFIXES));
  }

  @Override
  public void close() {
    prefixes.close();
    model.close();
  }
}
