package io.candle4j.server;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Sees that the client of a request has left while the request is worked on, and sends heartbeats
 * meanwhile.
 */
final class ClientWatch implements AutoCloseable {
  private static final Duration PERIOD = Duration.ofMillis(150);

  /** How long a client may take nothing of a response before it counts as one that has left. */
  private static final Duration STALL = Duration.ofSeconds(20);

  private static final long NOT_WRITING = Long.MAX_VALUE;

  private final @Nullable WatchedConnection connection;
  private final List<Runnable> departures = new CopyOnWriteArrayList<>();
  private final Thread thread;
  private volatile Runnable heartbeat = () -> {};
  private volatile long writingSince = NOT_WRITING;
  private volatile boolean left;
  private volatile boolean closed;

  private ClientWatch(@Nullable WatchedConnection connection) {
    this.connection = connection;
    this.thread = Thread.ofVirtual().name("candle4j-client-watch").unstarted(this::watch);
  }

  /** Begins to watch the client of the request that this thread handles. */
  static ClientWatch begin() {
    ClientWatch watch = new ClientWatch(WatchedConnection.current());
    watch.thread.start();
    return watch;
  }

  /** Runs something when the client leaves, or at once when it has. */
  void onDeparture(Runnable action) {
    departures.add(action);
    if (left) {
      action.run();
    }
  }

  /** What a thread does that can be interrupted. */
  interface Work<T> {
    T run() throws InterruptedException;
  }

  /**
   * Does something, and interrupts this thread when the client leaves meanwhile.
   *
   * @throws ClientLeftException when it does
   */
  <T> T interruptibly(Work<T> work) {
    Thread worker = Thread.currentThread();
    ReentrantLock lock = new ReentrantLock();
    AtomicBoolean done = new AtomicBoolean();
    Runnable interrupt =
        () -> {
          lock.lock();
          try {
            if (!done.get()) {
              worker.interrupt();
            }
          } finally {
            lock.unlock();
          }
        };
    onDeparture(interrupt);
    try {
      return work.run();
    } catch (InterruptedException | CancellationException e) {
      throw new ClientLeftException(e);
    } finally {
      lock.lock();
      done.set(true);
      lock.unlock();
      departures.remove(interrupt);
      if (left) {
        // It was for the work alone.
        Thread.interrupted();
      }
    }
  }

  /** What is called some times a second until the watch ends. It may end the watch by throwing. */
  void onHeartbeat(Runnable action) {
    heartbeat = action;
  }

  /** Whether the client has left. */
  boolean hasLeft() {
    return left;
  }

  /** Treats the client as one that has left. A write to it that is under way fails. */
  void leave() {
    left = true;
    departures.forEach(Runnable::run);
    if (connection != null && writingSince != NOT_WRITING) {
      connection.abort();
    }
  }

  private boolean isStalled() {
    long since = writingSince;
    return since != NOT_WRITING && System.nanoTime() - since > STALL.toNanos();
  }

  /** Says when this thread begins to write to the client. */
  void beginWrite() {
    writingSince = System.nanoTime();
  }

  /** Says that it has written. */
  void endWrite() {
    writingSince = NOT_WRITING;
  }

  private void watch() {
    try {
      while (!closed) {
        if (connection != null && connection.hasEnded()) {
          leave();
          return;
        }
        if (connection != null && isStalled()) {
          leave();
          return;
        }
        heartbeat.run();
        Thread.sleep(PERIOD);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (RuntimeException e) {
      leave();
    }
  }

  /**
   * Ends the watch. It interrupts nothing, since that would close a connection that a heartbeat
   * writes to.
   */
  @Override
  public void close() {
    closed = true;
  }
}
