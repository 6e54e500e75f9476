package io.candle4j.server;

import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * How many requests are worked on at a time and how many wait for that, first come, first served.
 */
final class Places {
  private final int parallel;
  private final int queue;
  private final Semaphore free;
  private final AtomicInteger inside = new AtomicInteger();

  Places(int parallel, int queue) {
    this.parallel = parallel;
    this.queue = queue;
    this.free = new Semaphore(parallel, true);
  }

  /** A place, until it is closed. */
  interface Place extends AutoCloseable {
    @Override
    void close();
  }

  /**
   * Takes so many places, and waits for them.
   *
   * @throws ApiException when too many wait already
   * @throws ClientLeftException when the client leaves meanwhile
   */
  Place take(int count, ClientWatch watch) {
    if (count > parallel) {
      throw ApiException.invalid("n", "n: expected at most " + parallel + ", got " + count);
    }
    if (inside.addAndGet(count) > parallel + queue) {
      inside.addAndGet(-count);
      throw ApiException.full(
          parallel + " requests are worked on and " + queue + " wait; try again later");
    }
    boolean taken = false;
    try {
      while (!taken) {
        if (watch.hasLeft()) {
          throw new ClientLeftException();
        }
        taken = free.tryAcquire(count, 100, TimeUnit.MILLISECONDS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw ApiException.ending();
    } finally {
      if (!taken) {
        inside.addAndGet(-count);
      }
    }
    return () -> {
      free.release(count);
      inside.addAndGet(-count);
    };
  }

  /** Requests that are worked on. */
  int active() {
    return parallel - free.availablePermits();
  }

  /** Requests that wait. */
  int waiting() {
    return Math.max(0, inside.get() - active());
  }
}
