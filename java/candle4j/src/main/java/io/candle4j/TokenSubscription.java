package io.candle4j;

import io.candle4j.internal.BlockingCalls;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.concurrent.CancellationException;
import java.util.concurrent.Flow;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * Hands tokens to one subscriber, by the rules of Reactive Streams. It holds a thread only while
 * the subscriber has asked for tokens.
 */
final class TokenSubscription implements Flow.Subscription {
  private static final Logger LOGGER = System.getLogger("io.candle4j");

  /** Not collected, and so not closed, while the subscriber holds this. */
  private final TokenStream stream;

  private final TokenChannel channel;
  private final Flow.Subscriber<? super Token> subscriber;
  private final Runnable signal = this::signal;
  private final AtomicLong requested = new AtomicLong();

  /** Signals that were not looked at; whoever makes it 1 starts to deliver. */
  private final AtomicInteger signals = new AtomicInteger();

  private volatile boolean done;
  private volatile @Nullable Throwable violation;

  TokenSubscription(
      TokenStream stream, TokenChannel channel, Flow.Subscriber<? super Token> subscriber) {
    this.stream = stream;
    this.channel = channel;
    this.subscriber = subscriber;
  }

  void start() {
    channel.watch(signal);
    signals.set(1);
    BlockingCalls.start(() -> {
      try {
        subscriber.onSubscribe(this);
      } catch (Throwable t) {
        // It has no subscription, so it is told nothing more.
        LOGGER.log(Level.WARNING, "a subscriber failed in onSubscribe; its stream is closed", t);
        finish();
      }
      deliverAll();
    });
  }

  private void signal() {
    if (signals.getAndIncrement() == 0) {
      BlockingCalls.start(this::deliverAll);
    }
  }

  private void deliverAll() {
    int seen = signals.get();
    while (seen != 0) {
      try {
        deliver();
      } catch (InterruptedException e) {
        fail(new CancellationException("the thread was interrupted"));
      } catch (Throwable t) {
        // By the rules, a subscriber does not throw. What it threw in onNext it gets once more.
        fail(t);
      }
      seen = signals.addAndGet(-seen);
    }
  }

  private void deliver() throws InterruptedException {
    while (!done) {
      Throwable broken = violation;
      if (broken != null) {
        fail(broken);
      } else if (requested.get() > 0) {
        Token token = channel.take();
        if (token == null) {
          complete();
        } else {
          requested.getAndUpdate(n -> n == Long.MAX_VALUE ? n : n - 1);
          subscriber.onNext(token);
        }
      } else if (!endWithoutDemand()) {
        return;
      }
    }
  }

  /** The end needs no demand. */
  private boolean endWithoutDemand() {
    if (channel.isExhausted()) {
      complete();
    } else if (channel.isSessionClosed()) {
      fail(new CancellationException("the session was closed"));
    }
    return done;
  }

  private void complete() {
    if (channel.isSessionClosed()) {
      fail(new CancellationException("the session was closed"));
      return;
    }
    try {
      channel.rethrow();
    } catch (Throwable t) {
      fail(t);
      return;
    }
    if (finish()) {
      subscriber.onComplete();
    }
  }

  private void fail(Throwable t) {
    if (finish()) {
      try {
        subscriber.onError(t);
      } catch (Throwable thrown) {
        LOGGER.log(Level.WARNING, "a subscriber failed in onError", thrown);
      }
    }
  }

  /** Ends the subscription; whether nobody had done that before. */
  private boolean finish() {
    boolean first = !done;
    done = true;
    stream.stop();
    return first;
  }

  @Override
  public void request(long n) {
    if (done) {
      return;
    }
    if (n <= 0) {
      violation = new IllegalArgumentException("request: expected at least 1, got " + n);
    } else {
      requested.getAndUpdate(before -> before + n < 0 ? Long.MAX_VALUE : before + n);
    }
    signal();
  }

  @Override
  public void cancel() {
    finish();
  }
}
