package io.candle4j.internal;

import io.candle4j.SessionBusyException;
import java.time.Duration;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * The calls of a session: one at a time is under way, and each can be cancelled by its number.
 *
 * <p>A call that was cancelled holds the session until its forward pass ends. The next call waits
 * for it, so that whoever cancels a call, or completes its future, can go on with the session at
 * once.
 */
final class SessionCalls {
  /** How long a call waits for one that was cancelled. A listener may hold that for ever. */
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  /** What became of a call that was to begin. */
  enum Begun {
    YES,
    CANCELLED,
    TIMED_OUT
  }

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();

  /** Numbers that were given out and not forgotten. */
  private final Set<Long> open = new HashSet<>();

  private final Set<Long> cancelled = new HashSet<>();
  private long last;
  private long running;
  private @Nullable Thread owner;
  private boolean closed;

  /** A number for a call, by which it can be cancelled before it begins, until it is forgotten. */
  long next() {
    lock.lock();
    try {
      open.add(++last);
      return last;
    } finally {
      lock.unlock();
    }
  }

  /** Says that a call is over, or was refused: from now on nothing cancels it. */
  void forget(long number) {
    lock.lock();
    try {
      open.remove(number);
      cancelled.remove(number);
    } finally {
      lock.unlock();
    }
  }

  /** The number of the call under way; 0 when there is none. */
  long running() {
    lock.lock();
    try {
      return running;
    } finally {
      lock.unlock();
    }
  }

  /** Cancels a call that is not over. Whether it is under way and has to be told. */
  boolean cancel(long number) {
    lock.lock();
    try {
      if (!open.contains(number)) {
        return false;
      }
      cancelled.add(number);
      changed.signalAll();
      return running == number;
    } finally {
      lock.unlock();
    }
  }

  /** The session is being closed: nobody waits any more. */
  void close() {
    lock.lock();
    try {
      closed = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /**
   * Begins a call, behind one that was cancelled.
   *
   * @param timeout how long it may wait for that; some seconds when null
   * @return whether it began
   * @throws SessionBusyException when another one is under way that nobody has cancelled
   */
  Begun begin(long number, @Nullable Duration timeout) {
    lock.lock();
    try {
      long left = nanos(timeout == null ? PATIENCE : timeout);
      while (running != 0) {
        boolean ending = closed || cancelled.contains(running);
        if (owner == Thread.currentThread() || !ending) {
          throw busy();
        }
        if (closed || cancelled.contains(number)) {
          return Begun.CANCELLED;
        }
        if (left <= 0) {
          if (timeout != null) {
            return Begun.TIMED_OUT;
          }
          throw busy();
        }
        left = changed.awaitNanos(left);
      }
      if (cancelled.contains(number)) {
        return Begun.CANCELLED;
      }
      running = number;
      owner = Thread.currentThread();
      return Begun.YES;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw BlockingCalls.interrupted();
    } finally {
      lock.unlock();
    }
  }

  private static long nanos(Duration duration) {
    Duration longest = Duration.ofNanos(Long.MAX_VALUE);
    return duration.compareTo(longest) < 0 ? duration.toNanos() : Long.MAX_VALUE;
  }

  private static SessionBusyException busy() {
    return new SessionBusyException("another call on this session is under way", Map.of());
  }

  /** Ends the call under way. */
  void end() {
    lock.lock();
    try {
      running = 0;
      owner = null;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }
}
