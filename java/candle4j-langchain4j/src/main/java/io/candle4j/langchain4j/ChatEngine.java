package io.candle4j.langchain4j;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.Generation;
import io.candle4j.PrefixCache;
import io.candle4j.Request;
import io.candle4j.TokenListener;

/** What answers requests. The adapters know no more of it, so that their contract can be tested. */
interface ChatEngine {
  /** Sessions that are kept when they are done. */
  int KEPT = 4;

  /** Begins a call, which does nothing yet. */
  Call begin();

  /** A call, which another thread may cancel. */
  interface Call extends AutoCloseable {
    /** Answers, and tells each token. Called once. */
    Generation generate(Request request, TokenListener listener);

    /**
     * Ends the answer soon. Any thread may call it, any number of times; does nothing after close.
     */
    void cancel();

    @Override
    void close();
  }

  /**
   * Answers by sessions of a model, a new one each. Requests that go on from one before, as those
   * of a conversation do, find what was computed for it.
   */
  static ChatEngine of(CandleModel model) {
    PrefixCache cache = new PrefixCache(KEPT);
    return () -> new SessionCall(model.newSession(), cache);
  }

  /** See {@link #of}. */
  record SessionCall(CandleSession session, PrefixCache cache) implements Call {
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
      cache.keep(session);
    }
  }
}
