package io.candle4j.langchain4j;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.Generation;
import io.candle4j.Request;
import io.candle4j.TokenListener;
import java.util.concurrent.LinkedBlockingDeque;

/** What answers requests. The adapters know no more of it, so that their contract can be tested. */
interface ChatEngine {
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
   * Answers by sessions of a model. A few are kept when they are done: requests that go on from the
   * one before, as those of a conversation do, find what was computed for it.
   */
  static ChatEngine of(CandleModel model) {
    return new Sessions(model);
  }

  /** See {@link #of}. */
  final class Sessions implements ChatEngine {
    private static final int KEPT = 2;

    private final CandleModel model;
    private final LinkedBlockingDeque<CandleSession> idle = new LinkedBlockingDeque<>(KEPT);

    private Sessions(CandleModel model) {
      this.model = model;
    }

    @Override
    public Call begin() {
      CandleSession kept = idle.pollFirst();
      return new SessionCall(kept == null ? model.newSession() : kept);
    }

    private final class SessionCall implements Call {
      private final CandleSession session;
      private boolean closed;

      private SessionCall(CandleSession session) {
        this.session = session;
      }

      @Override
      public Generation generate(Request request, TokenListener listener) {
        return session.generate(request, listener);
      }

      @Override
      public synchronized void cancel() {
        // Afterwards the session may be another call's.
        if (!closed) {
          session.cancel();
        }
      }

      @Override
      public void close() {
        synchronized (this) {
          closed = true;
        }
        if (!idle.offerFirst(session)) {
          session.close();
        }
      }
    }
  }
}
