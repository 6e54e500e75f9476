package io.candle4j.server;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.Generation;
import io.candle4j.PrefixCache;
import io.candle4j.Request;
import io.candle4j.TokenListener;

/**
 * What answers the requests of a model. The APIs know no more of it, so that they can be tested.
 */
interface Chats extends AutoCloseable {
  /** Conversations that stay computed when memory allows. */
  int PREFIXES = 32;

  /** Begins an answer, which does nothing yet. */
  Chat begin();

  @Override
  void close();

  /** An answer, which another thread may cancel. */
  interface Chat extends AutoCloseable {
    /** Answers, and tells each token. Called once. */
    Generation generate(Request request, TokenListener listener);

    /** Ends the answer soon. Any thread may call it, any number of times. */
    void cancel();

    @Override
    void close();
  }

  /** Answers by sessions of a model, a new one each, which find what those before had computed. */
  static Chats of(CandleModel model) {
    PrefixCache prefixes = new PrefixCache(PREFIXES);
    return new Chats() {
      @Override
      public Chat begin() {
        return new SessionChat(model.newSession(), prefixes);
      }

      @Override
      public void close() {
        prefixes.close();
      }
    };
  }

  /** See {@link #of}. */
  record SessionChat(CandleSession session, PrefixCache prefixes) implements Chat {
    @Override
    public Generation generate(Request request, TokenListener listener) {
      return session.generate(request, listener);
    }

    @Override
    public void cancel() {
      session.cancel();
    }

    @Override
    public void close() {
      prefixes.keep(session);
    }
  }
}
