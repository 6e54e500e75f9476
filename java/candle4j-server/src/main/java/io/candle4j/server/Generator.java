package io.candle4j.server;

import io.candle4j.FinishReason;
import io.candle4j.Generation;
import io.candle4j.Request;
import io.candle4j.Token;
import java.time.Duration;

/** Answers one request of a model, with a place, for a client that may leave. */
final class Generator implements AutoCloseable {
  private final ServedModel served;
  private final ServerMetrics metrics;
  private final ClientWatch watch;
  private final Runnable begun;
  private final ServedModel.Use<ChatResident> lease;

  /** Takes places for so many answers. */
  Generator(ServedModel served, int answers, ServerMetrics metrics, Exchange exchange) {
    this.served = served;
    this.metrics = metrics;
    this.watch = exchange.watch();
    this.begun = exchange::isRead;
    this.lease = served.use(served.chat(), answers, exchange);
  }

  /** The model in use. */
  ServedModel.Use<ChatResident> use() {
    return lease;
  }

  ChatResident resident() {
    return lease.model();
  }

  /** Is told each token. */
  interface Listener {
    /** Takes a token; false ends the answer. */
    boolean onToken(Token token);
  }

  /**
   * Answers, and tells each token on the calling thread.
   *
   * @throws ClientLeftException when the client left meanwhile
   */
  Generation generate(Request request, Listener listener) {
    Chats.Chat chat = lease.model().chats().begin();
    watch.onDeparture(chat::cancel);
    long begin = System.nanoTime();
    boolean[] told = new boolean[1];
    try {
      if (watch.hasLeft()) {
        throw new ClientLeftException();
      }
      Generation generation =
          chat.generate(
              request,
              token -> {
                if (!told[0]) {
                  told[0] = true;
                  begun.run();
                  metrics.firstToken(served.name(), Duration.ofNanos(System.nanoTime() - begin));
                }
                // A client that left before the session had begun has cancelled nothing.
                if (!listener.onToken(token) || watch.hasLeft()) {
                  chat.cancel();
                }
              });
      if (watch.hasLeft() && generation.finishReason() == FinishReason.CANCELLED) {
        throw new ClientLeftException();
      }
      metrics.generated(served.name(), generation);
      return generation;
    } finally {
      chat.close();
    }
  }

  @Override
  public void close() {
    lease.close();
  }
}
