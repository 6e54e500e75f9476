package io.candle4j;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;

/**
 * Runs a long call on a platform thread of its own, so that no virtual thread is held by it.
 *
 * @param <T> the result's type
 */
final class Worker<T> extends CompletableFuture<T> {
  private static final AtomicLong THREADS = new AtomicLong();

  private final Runnable stop;

  private Worker(Runnable stop) {
    this.stop = stop;
  }

  /** Starts {@code call}; cancelling the future runs {@code stop}. */
  static <T> CompletableFuture<T> start(Supplier<T> call, Runnable stop) {
    Worker<T> worker = new Worker<>(stop);
    thread(() -> {
      try {
        worker.complete(call.get());
      } catch (Throwable t) {
        worker.completeExceptionally(t);
      }
    });
    return worker;
  }

  /** Starts a daemon thread. */
  static Thread thread(Runnable task) {
    return Thread.ofPlatform()
        .daemon()
        .name("candle4j-generate-" + THREADS.incrementAndGet())
        .start(task);
  }

  @Override
  public boolean cancel(boolean mayInterruptIfRunning) {
    boolean cancelled = super.cancel(mayInterruptIfRunning);
    if (cancelled) {
      stop.run();
    }
    return cancelled;
  }
}
