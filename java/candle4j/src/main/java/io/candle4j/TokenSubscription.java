package io.candle4j;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.Iterator;
import java.util.concurrent.CancellationException;
import java.util.concurrent.Flow;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/** Hands tokens to one subscriber, by the rules of Reactive Streams, on a thread of its own. */
final class TokenSubscription implements Flow.Subscription {
  /**
   * How often a subscription without demand looks whether its session is closed, in milliseconds.
   */
  private static final int POLL_MS = 100;

  private static final Logger LOGGER = System.getLogger("io.candle4j");

  private final Iterator<Token> tokens;
  private final Runnable close;
  private final BooleanSupplier isSessionClosed;
  private final Flow.Subscriber<? super Token> subscriber;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private long requested;
  private boolean cancelled;
  private @Nullable Throwable violation;

  TokenSubscription(
      Iterator<Token> tokens,
      Runnable close,
      BooleanSupplier isSessionClosed,
      Flow.Subscriber<? super Token> subscriber) {
    this.tokens = tokens;
    this.close = close;
    this.isSessionClosed = isSessionClosed;
    this.subscriber = subscriber;
  }

  void start() {
    Worker.thread(this::run);
  }

  private void run() {
    try {
      if (subscribed()) {
        deliver();
      }
    } finally {
      close.run();
    }
  }

  /** A subscriber that fails at once has no subscription, so it is told nothing more. */
  private boolean subscribed() {
    try {
      subscriber.onSubscribe(this);
      return true;
    } catch (Throwable t) {
      LOGGER.log(Level.WARNING, "a subscriber failed in onSubscribe; its stream is closed", t);
      return false;
    }
  }

  private void deliver() {
    try {
      while (awaitDemand()) {
        if (!tokens.hasNext()) {
          subscriber.onComplete();
          return;
        }
        subscriber.onNext(tokens.next());
      }
    } catch (Throwable t) {
      if (!isCancelled()) {
        subscriber.onError(t);
      }
    }
  }

  /** Waits until a token may be delivered; false when none may be any more. */
  private boolean awaitDemand() throws Throwable {
    lock.lock();
    try {
      while (requested == 0 && !cancelled && violation == null) {
        if (isSessionClosed.getAsBoolean()) {
          throw new CancellationException("the session was closed");
        }
        var unused = changed.await(POLL_MS, TimeUnit.MILLISECONDS);
      }
      if (violation != null) {
        throw violation;
      }
      if (cancelled) {
        return false;
      }
      if (requested != Long.MAX_VALUE) {
        requested--;
      }
      return true;
    } finally {
      lock.unlock();
    }
  }

  private boolean isCancelled() {
    lock.lock();
    try {
      return cancelled;
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void request(long n) {
    lock.lock();
    try {
      if (n <= 0) {
        violation = new IllegalArgumentException("request: expected at least 1, got " + n);
      } else {
        requested = requested + n < 0 ? Long.MAX_VALUE : requested + n;
      }
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void cancel() {
    lock.lock();
    try {
      cancelled = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }
}
