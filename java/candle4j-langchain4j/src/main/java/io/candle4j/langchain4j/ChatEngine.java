package io.candle4j.langchain4j;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.Generation;
import io.candle4j.Request;
import io.candle4j.TokenListener;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.atomic.AtomicInteger;

/** What answers requests. The adapters know no more of it, so that their contract can be tested. */
interface ChatEngine {
  /** Begins a call, which does nothing yet. */
  Call begin();

  /** A call, which another thread may cancel. */
  interface Call extends AutoCloseable {
    /** Answers, and tells each token. Called once. */
    Generation generate(Request request, TokenListener listener);

    /** Ends the answer soon. Any thread may call it, any number of times. */
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
    private final ConcurrentLinkedDeque<CandleSession> idle = new ConcurrentLinkedDeque<>();
    private final AtomicInteger count = new AtomicInteger();

    private Sessions(CandleModel model) {
      this.model = model;
    }

    @Override
    public Call begin() {
      CandleSession kept = idle.pollFirst();
      if (kept != null) {
        count.decrementAndGet();
      }
      CandleSession session = kept == null ? model.newSession() : kept;
      return new Call() {
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
          giveBack(session);
        }
      };
    }

    private void giveBack(CandleSession session) {
      if (count.incrementAndGet() <= KEPT) {
        idle.addFirst(session);
      } else {
        count.decrementAndGet();
        session.close();
      }
    }
  }
}
