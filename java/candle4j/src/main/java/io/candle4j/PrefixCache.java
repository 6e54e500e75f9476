package io.candle4j;

import io.candle4j.internal.Cleaners;
import java.util.ArrayDeque;

/**
 * Sessions that are done, the newest ones, each instead of being closed: a request of another
 * session of their model that begins like one of theirs finds what was computed for it. Servers and
 * adapters use it, whose requests each bring a whole conversation.
 *
 * {@snippet :
 * PrefixCache cache = new PrefixCache(16);
 * CandleSession session = model.newSession();
 * try {
 *   return session.generate(request);
 * } finally {
 *   cache.keep(session);
 * }
 * }
 *
 * <p>Kept sessions hold memory for keys and values, which they give up when another session needs
 * it ({@link CandleModel.Builder#kvCacheBytes}). Sessions of {@link Engine#CANDLE} share nothing.
 * Any number of threads may use a cache. What it keeps is closed with it, or when it becomes
 * unreachable.
 */
public final class PrefixCache implements AutoCloseable {
  private final Kept kept;

  /**
   * Makes a cache that is empty.
   *
   * @param size how many sessions it keeps at most; 0 keeps none
   * @throws IllegalArgumentException below 0
   */
  public PrefixCache(int size) {
    if (size < 0) {
      throw new IllegalArgumentException("size: expected 0 or more, got " + size);
    }
    kept = new Kept(size);
    Cleaners.onUnreachable(this, kept::close);
  }

  /**
   * Takes over a session, and closes the one that was kept longest when there are too many.
   *
   * @param session a session that is not used any more
   */
  public void keep(CandleSession session) {
    kept.add(session);
  }

  /** Closes what it keeps, and later each session that it is given. */
  @Override
  public void close() {
    kept.close();
  }

  /** The sessions, apart from the cache so that they can be closed when it is unreachable. */
  private static final class Kept {
    private final ArrayDeque<CandleSession> sessions = new ArrayDeque<>();
    private int size;

    private Kept(int size) {
      this.size = size;
    }

    private void add(CandleSession session) {
      CandleSession out;
      synchronized (this) {
        sessions.addLast(session);
        out = sessions.size() > size ? sessions.removeFirst() : null;
      }
      if (out != null) {
        out.close();
      }
    }

    private void close() {
      CandleSession[] all;
      synchronized (this) {
        size = 0;
        all = sessions.toArray(CandleSession[]::new);
        sessions.clear();
      }
      for (CandleSession session : all) {
        session.close();
      }
    }
  }
}
