package io.candle4j;

import io.candle4j.internal.BlockingCalls;
import io.candle4j.internal.Cleaners;
import io.candle4j.internal.StackGuard;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Objects;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.concurrent.CancellationException;
import java.util.concurrent.Flow;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;

/**
 * The tokens of one generation, one after the other: as an {@link Iterable}, as a {@link Stream},
 * or as a {@link Flow.Publisher}. It can be read once, in one of these ways.
 *
 * <p>The generation runs on a thread of its own, at most a few tokens ahead of the reader. Closing
 * the stream stops it, and so does closing the session. A stream that is forgotten is closed when
 * it becomes unreachable. Leave it to a {@code try} block:
 *
 * {@snippet :
 * try (TokenStream tokens = session.stream("Tell me a story", GenerateOptions.defaults())) {
 *   for (Token token : tokens) {
 *     System.out.print(token.text());
 *   }
 * }
 * }
 */
public final class TokenStream implements Iterable<Token>, Flow.Publisher<Token>, AutoCloseable {
  private final TokenChannel channel;
  private final AtomicBoolean taken = new AtomicBoolean();

  /** Starts the generation of a channel. */
  TokenStream(TokenChannel channel) {
    this.channel = channel;
    Cleaners.onUnreachable(this, channel::close);
    BlockingCalls.start(channel);
  }

  /**
   * Iterates over the tokens; the thread that asks for the next one waits for it.
   *
   * @return the iterator; what went wrong in the generation comes out of its methods
   * @throws IllegalStateException the second time
   */
  @Override
  public Iterator<Token> iterator() {
    take();
    return new Tokens();
  }

  /**
   * The tokens as a stream. Closing it closes this.
   *
   * @return the stream
   * @throws IllegalStateException when the tokens are read already
   */
  public Stream<Token> stream() {
    StackGuard.check();
    Spliterator<Token> tokens =
        Spliterators.spliteratorUnknownSize(
            iterator(), Spliterator.ORDERED | Spliterator.NONNULL | Spliterator.IMMUTABLE);
    return StreamSupport.stream(tokens, false).onClose(this::close);
  }

  /**
   * Publishes the tokens to one subscriber, on threads of this library, one after the other and no
   * more than it requests. Cancelling the subscription closes this. When the session is closed
   * before the generation ended, the subscriber gets a {@link CancellationException}.
   */
  @Override
  public void subscribe(Flow.Subscriber<? super Token> subscriber) {
    StackGuard.check();
    Objects.requireNonNull(subscriber, "subscriber");
    if (!taken.compareAndSet(false, true)) {
      subscriber.onSubscribe(new Rejected());
      subscriber.onError(new IllegalStateException("the tokens are read already"));
      return;
    }
    new TokenSubscription(this, channel, subscriber).start();
  }

  /**
   * Waits for the end of the generation, reading and dropping the tokens that nobody has read.
   *
   * @return the outcome
   * @throws CancellationException when the stream was closed before the end, or this thread is
   *     interrupted
   */
  public Generation result() {
    StackGuard.check();
    if (taken.compareAndSet(false, true)) {
      new Tokens().forEachRemaining(token -> {});
    }
    try {
      channel.awaitEnd();
    } catch (InterruptedException e) {
      throw interrupted();
    }
    channel.rethrow();
    Generation generation = channel.result();
    if (generation == null) {
      throw new CancellationException("the stream was closed");
    }
    return generation;
  }

  /**
   * Stops the generation if it runs, and waits for it to stop. On the thread that generates, from a
   * listener for instance, and when this thread is interrupted, it only stops.
   */
  @Override
  public void close() {
    StackGuard.check();
    channel.close();
    try {
      channel.awaitEnd();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Stops the generation if it runs, and does not wait for that. */
  void stop() {
    channel.close();
  }

  private CancellationException interrupted() {
    Thread.currentThread().interrupt();
    channel.close();
    return new CancellationException("the thread was interrupted");
  }

  private void take() {
    if (!taken.compareAndSet(false, true)) {
      throw new IllegalStateException("the tokens are read already");
    }
  }

  private final class Tokens implements Iterator<Token> {
    private final ReentrantLock lock = new ReentrantLock();
    private @Nullable Token next;

    @Override
    public boolean hasNext() {
      lock.lock();
      try {
        if (next == null) {
          next = channel.take();
        }
        if (next == null) {
          channel.rethrow();
        }
        return next != null;
      } catch (InterruptedException e) {
        throw interrupted();
      } finally {
        lock.unlock();
      }
    }

    @Override
    public Token next() {
      lock.lock();
      try {
        Token token = hasNext() ? next : null;
        if (token == null) {
          throw new NoSuchElementException();
        }
        next = null;
        return token;
      } finally {
        lock.unlock();
      }
    }

    /** Takes tokens until there is none, also when others take some of them. */
    @Override
    public void forEachRemaining(Consumer<? super Token> action) {
      while (true) {
        Token token;
        lock.lock();
        try {
          if (!hasNext()) {
            return;
          }
          token = next();
        } finally {
          lock.unlock();
        }
        action.accept(token);
      }
    }
  }

  /** The subscription of a second subscriber, which never gets anything. */
  private static final class Rejected implements Flow.Subscription {
    @Override
    public void request(long n) {
      // Nothing will come.
    }

    @Override
    public void cancel() {
      // Nothing comes anyway.
    }
  }
}
