package io.candle4j;

import io.candle4j.internal.StackGuard;
import io.candle4j.internal.Threads;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Objects;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.Flow;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;

/**
 * The tokens of one generation, one after the other: as an {@link Iterable}, as a {@link Stream},
 * or as a {@link Flow.Publisher}. It can be read once, in one of these ways.
 *
 * <p>The generation runs on a thread of its own, at most a few tokens ahead of the reader. Closing
 * the stream stops it; so does leaving it to a {@code try} block:
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
  private static final int AHEAD = 64;

  /** How often a waiting thread looks whether the other side has left, in milliseconds. */
  private static final int POLL_MS = 20;

  /** Thrown into a generation that could not be cancelled; made beforehand. */
  private static final CancellationException ABANDONED =
      new CancellationException("the stream was closed");

  private final BlockingQueue<Event> queue = new ArrayBlockingQueue<>(AHEAD);
  private final AtomicBoolean taken = new AtomicBoolean();
  private final AtomicBoolean closed = new AtomicBoolean();
  private final Runnable stop;
  private final BooleanSupplier isSessionClosed;
  private final Thread producer;
  private volatile boolean abandoned;
  private volatile @Nullable Generation result;
  private volatile @Nullable Throwable failure;

  /** What the generating thread hands over. */
  private sealed interface Event {
    record Next(Token token) implements Event {}

    record End() implements Event {}
  }

  /**
   * Starts to generate.
   *
   * @param generate the generation, to be run on a thread of its own
   * @param stop stops it
   * @param isSessionClosed whether nobody is to be waited for any more
   */
  TokenStream(
      Function<TokenListener, Generation> generate,
      Runnable stop,
      BooleanSupplier isSessionClosed) {
    this.stop = stop;
    this.isSessionClosed = isSessionClosed;
    this.producer = Worker.thread(() -> produce(generate));
  }

  private void produce(Function<TokenListener, Generation> generate) {
    try {
      result = generate.apply(token -> offer(new Event.Next(token)));
    } catch (Throwable t) {
      failure = t;
    } finally {
      if (!abandoned) {
        offer(new Event.End());
      }
    }
  }

  /** Waits for room, unless nobody reads any more or the session is closed. */
  private void offer(Event event) {
    if (abandoned) {
      throw ABANDONED;
    }
    try {
      while (!closed.get()
          && !queue.offer(event, POLL_MS, TimeUnit.MILLISECONDS)
          && !isSessionClosed.getAsBoolean()) {
        // Full: wait on, and look whether the reader has left.
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
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
   * Publishes the tokens to one subscriber, on a thread of its own, no more than it requests.
   * Cancelling the subscription closes this.
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
    new TokenSubscription(new Tokens(), this::close, isSessionClosed, subscriber).start();
  }

  /**
   * Waits for the end of the generation, reading and dropping the tokens that nobody has read.
   *
   * @return the outcome
   * @throws CancellationException when the stream was closed before the end
   */
  public Generation result() {
    StackGuard.check();
    if (taken.compareAndSet(false, true)) {
      new Tokens().forEachRemaining(token -> {});
    }
    Threads.join(producer);
    rethrow();
    Generation generation = result;
    if (generation == null) {
      throw new CancellationException("the stream was closed");
    }
    return generation;
  }

  /**
   * Stops the generation if it runs, and waits for it to stop. On the thread that generates, from a
   * listener for instance, it only stops.
   */
  @Override
  public void close() {
    StackGuard.check();
    if (closed.compareAndSet(false, true)) {
      try {
        stop.run();
      } catch (Throwable t) {
        // With a full heap or a full stack, nothing can be called: the next token ends it.
        abandoned = true;
      }
      queue.clear();
    }
    if (Thread.currentThread() != producer) {
      Threads.join(producer);
    }
  }

  private void take() {
    if (!taken.compareAndSet(false, true)) {
      throw new IllegalStateException("the tokens are read already");
    }
  }

  private void rethrow() {
    switch (failure) {
      case null -> {}
      case RuntimeException e -> throw e;
      case Error e -> throw e;
      case Throwable t -> throw new IllegalStateException(t);
    }
  }

  private final class Tokens implements Iterator<Token> {
    private final ReentrantLock lock = new ReentrantLock();
    private @Nullable Event next;

    @Override
    public boolean hasNext() {
      lock.lock();
      try {
        if (next == null) {
          next = await();
        }
        if (next instanceof Event.End) {
          rethrow();
          return false;
        }
        return true;
      } finally {
        lock.unlock();
      }
    }

    @Override
    public Token next() {
      lock.lock();
      try {
        if (!hasNext() || !(next instanceof Event.Next(Token token))) {
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

    private Event await() {
      try {
        while (!closed.get()) {
          boolean isOver = !producer.isAlive();
          Event event = queue.poll(POLL_MS, TimeUnit.MILLISECONDS);
          if (event != null) {
            return event;
          }
          if (isOver) {
            // The end found no room before the session was closed.
            return new Event.End();
          }
        }
        return new Event.End();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        close();
        throw new CancellationException("interrupted");
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
