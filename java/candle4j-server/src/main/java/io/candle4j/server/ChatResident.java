package io.candle4j.server;

import io.candle4j.CandleModel;

/** A loaded model that generates, and what answers its requests. */
record ChatResident(CandleModel model, Chats chats) implements AutoCloseable {
  @Override
  public void close() {
    chats.close();
    model.close();
  }
}
