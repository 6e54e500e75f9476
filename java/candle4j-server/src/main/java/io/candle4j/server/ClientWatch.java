package io.candle4j.server;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.jspecify.annotations.Nullable;

/**
 * Sees that the client of a request has left while the request is worked on, and sends heartbeats
 * meanwhile.
 */
final class ClientWatch implements AutoCloseable {
  private static final Duration PERIOD = Duration.ofMillis(150);

  private final @Nullable WatchedConnection connection;
  private final List<Runnable> departures = new CopyOnWriteArrayList<>();
  private final Thread thread;
  private volatile Runnable heartbeat = () -> {};
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

  /** What is called some times a second until the watch ends. It may end the watch by throwing. */
  void onHeartbeat(Runnable action) {
    heartbeat = action;
  }

  /** Whether the client has left. */
  boolean hasLeft() {
    return left;
  }

  /** Treats the client as one that has left. */
  void leave() {
    left = true;
    departures.forEach(Runnable::run);
  }

  private void watch() {
    try {
      while (!closed) {
        if (connection != null && connection.hasEnded()) {
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
