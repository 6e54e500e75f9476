package io.candle4j.server;

import java.util.concurrent.Semaphore;
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

  /**
   * Lets a request wait for so many places, which it takes later.
   *
   * @throws ApiException when too many wait already
   */
  Place enter(int count) {
    if (count > parallel) {
      throw ApiException.invalid(
          "n", "n: expected at most " + parallel + " answers in one request, got " + count);
    }
    if (inside.addAndGet(count) > parallel + queue) {
      inside.addAndGet(-count);
      throw ApiException.full(
          parallel + " requests are worked on and " + queue + " wait; try again later");
    }
    return new Place(count);
  }

  /** Places of a request, from its beginning to its end. */
  final class Place implements AutoCloseable {
    private final int count;
    private boolean taken;

    private Place(int count) {
      this.count = count;
    }

    /**
     * Waits until there are so many.
     *
     * @throws ClientLeftException when the client leaves meanwhile
     */
    void take(ClientWatch watch) {
      watch.interruptibly(() -> {
        free.acquire(count);
        taken = true;
        return count;
      });
    }

    @Override
    public void close() {
      if (taken) {
        free.release(count);
      }
      inside.addAndGet(-count);
    }
  }

  /** Requests that are worked on. */
  int active() {
    return parallel - free.availablePermits();
  }

  /** Requests that wait, for places or for a model that is loaded. */
  int waiting() {
    return Math.max(0, inside.get() - active());
  }
}
