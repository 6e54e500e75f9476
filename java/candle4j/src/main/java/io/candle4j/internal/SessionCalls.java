package io.candle4j.internal;

import io.candle4j.SessionBusyException;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Which call of a session is under way: one at a time.
 *
 * <p>A call that was stopped holds the session until its forward pass ends. The next call waits for
 * it, so that whoever cancels a call, or completes its future, can go on with the session at once.
 */
final class SessionCalls {
  /** How long a call waits for one that was stopped. A listener may hold that for ever. */
  private static final long WAIT_SECONDS = 10;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition ended = lock.newCondition();
  private final AtomicLong last = new AtomicLong();
  private volatile long running;
  private @Nullable Thread owner;
  private long stoppedUpTo;

  /** A number for a call, by which it can be stopped before it begins. */
  long next() {
    return last.incrementAndGet();
  }

  /** The number of the call under way; 0 when there is none. */
  long running() {
    return running;
  }

  /** Notes that calls up to this number end soon. */
  void stopped(long number) {
    lock.lock();
    try {
      stoppedUpTo = Math.max(stoppedUpTo, number);
    } finally {
      lock.unlock();
    }
  }

  /**
   * Begins a call.
   *
   * @throws SessionBusyException when another one is under way that nobody has stopped
   */
  void begin(long number) {
    lock.lock();
    try {
      long left = TimeUnit.SECONDS.toNanos(WAIT_SECONDS);
      while (running != 0) {
        if (owner == Thread.currentThread() || running > stoppedUpTo || left <= 0) {
          throw new SessionBusyException("another call on this session is under way", Map.of());
        }
        left = ended.awaitNanos(left);
      }
      running = number;
      owner = Thread.currentThread();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw BlockingCalls.interrupted();
    } finally {
      lock.unlock();
    }
  }

  /** Ends the call under way. */
  void end() {
    lock.lock();
    try {
      running = 0;
      owner = null;
      ended.signal();
    } finally {
      lock.unlock();
    }
  }
}
