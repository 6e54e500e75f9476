package io.candle4j;

import java.lang.ref.WeakReference;
import java.util.ArrayDeque;
import java.util.concurrent.CancellationException;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Tokens on their way from the thread that generates to the one that reads, at most {@value
 * #CAPACITY} of them.
 *
 * <p>It knows nothing of the {@link TokenStream} that reads, so that a stream that nobody holds any
 * more is collected while its generation waits here.
 */
final class TokenChannel implements Runnable {
  private static final int CAPACITY = 64;

  /** Thrown into a generation that could not be stopped; made beforehand. */
  private static final CancellationException ABANDONED =
      new CancellationException("the stream was closed");

  private final Function<TokenListener, Generation> generate;
  private final Runnable stop;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private final ArrayDeque<Token> tokens = new ArrayDeque<>(CAPACITY + 1);
  private Runnable onEnd = () -> {};
  private volatile @Nullable Thread producer;
  private boolean closed;
  private volatile boolean sessionClosed;
  private boolean ended;
  private volatile boolean abandoned;
  private volatile @Nullable Generation result;
  private volatile @Nullable Throwable failure;
  private volatile WeakReference<@Nullable Runnable> watcher = new WeakReference<>(null);

  /**
   * A channel whose generation has not begun.
   *
   * @param generate the generation
   * @param stop stops it
   */
  TokenChannel(Function<TokenListener, Generation> generate, Runnable stop) {
    this.generate = generate;
    this.stop = stop;
  }

  /** Sets what is called when the generation has ended. */
  void onEnd(Runnable onEnd) {
    this.onEnd = onEnd;
  }

  /** Generates, to the end. */
  @Override
  public void run() {
    producer = Thread.currentThread();
    Generation generation = null;
    Throwable thrown = null;
    try {
      generation = generate.apply(this::put);
    } catch (Throwable t) {
      thrown = t;
    } finally {
      end(generation, thrown);
      onEnd.run();
    }
  }

  private void end(@Nullable Generation generation, @Nullable Throwable thrown) {
    lock.lock();
    try {
      result = generation;
      failure = thrown;
      ended = true;
      producer = null;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    signalWatcher();
  }

  /** Waits for room, unless nobody reads any more. */
  private void put(Token token) {
    if (abandoned) {
      throw ABANDONED;
    }
    lock.lock();
    try {
      while (tokens.size() >= CAPACITY && !closed && !sessionClosed) {
        changed.await();
      }
      if (!closed && tokens.size() < CAPACITY) {
        tokens.add(token);
        changed.signalAll();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      lock.unlock();
    }
  }

  /**
   * Waits for the next token.
   *
   * @return the token; null behind the last one, or when the channel is closed
   */
  @Nullable Token take() throws InterruptedException {
    lock.lock();
    try {
      while (tokens.isEmpty() && !closed && !ended) {
        changed.await();
      }
      return remove();
    } finally {
      lock.unlock();
    }
  }

  private @Nullable Token remove() {
    Token token = tokens.poll();
    if (token != null) {
      changed.signalAll();
    }
    return token;
  }

  /** Whether no token will come any more. */
  boolean isExhausted() {
    lock.lock();
    try {
      return tokens.isEmpty() && (closed || ended);
    } finally {
      lock.unlock();
    }
  }

  /** Whether the session was closed. */
  boolean isSessionClosed() {
    return sessionClosed;
  }

  /** Sets what is called when the end comes, unless it was collected before. */
  void watch(Runnable watcher) {
    this.watcher = new WeakReference<>(watcher);
  }

  private void signalWatcher() {
    Runnable waiting = watcher.get();
    if (waiting != null) {
      waiting.run();
    }
  }

  /** The session is being closed: nobody is waited for any more. */
  void closeSession() {
    lock.lock();
    try {
      sessionClosed = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    signalWatcher();
  }

  /** Stops the generation. Tokens that were not read are lost. Allocates nothing by itself. */
  void close() {
    lock.lock();
    try {
      if (closed) {
        return;
      }
      closed = true;
      tokens.clear();
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    try {
      stop.run();
    } catch (Throwable t) {
      // With a full heap or a full stack, nothing can be called: the next token ends it.
      abandoned = true;
    }
  }

  /** Waits for the generation to end, on its own thread not at all. */
  void awaitEnd() throws InterruptedException {
    lock.lock();
    try {
      while (!ended && producer != Thread.currentThread()) {
        changed.await();
      }
    } finally {
      lock.unlock();
    }
  }

  /** Throws what the generation threw, if it did. */
  void rethrow() {
    switch (failure) {
      case null -> {}
      case RuntimeException e -> throw e;
      case Error e -> throw e;
      case Throwable t -> throw new IllegalStateException(t);
    }
  }

  /** What the generation produced; null before it has ended, or when it failed. */
  @Nullable Generation result() {
    return result;
  }
}
