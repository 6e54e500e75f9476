package io.candle4j.internal;

import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import org.jspecify.annotations.Nullable;

/** Work on a platform thread of its own, whose stack is whole. */
final class Threads {
  /** Bytes, whatever the JVM's default is. */
  static final long STACK_SIZE = 2 << 20;

  private Threads() {}

  /**
   * Runs work on a new daemon thread and waits for it. Interrupting the caller does not end it.
   *
   * @param name of the thread
   * @param work what to do
   * @return its result
   */
  static <T extends @Nullable Object> T call(String name, Callable<T> work) {
    Outcome<T> outcome = new Outcome<>(work);
    join(Thread.ofPlatform().daemon().name(name).stackSize(STACK_SIZE).start(outcome));
    return outcome.get();
  }

  /**
   * Waits for a thread to end. Interrupting the caller does not end it, and is remembered.
   *
   * @param thread the thread
   */
  private static void join(Thread thread) {
    boolean interrupted = false;
    while (true) {
      try {
        thread.join();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /**
   * Waits for an event. Interrupting the caller does not end it, and is remembered.
   *
   * @param event the event
   */
  static void await(CountDownLatch event) {
    boolean interrupted = false;
    while (true) {
      try {
        event.await();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private static final class Outcome<T extends @Nullable Object> implements Runnable {
    private final Callable<T> work;
    private @Nullable T result;
    private @Nullable Throwable thrown;

    Outcome(Callable<T> work) {
      this.work = work;
    }

    @Override
    public void run() {
      try {
        result = work.call();
      } catch (Throwable t) {
        thrown = t;
      }
    }

    // What the work returned has its type; before it ran, nobody asks.
    @SuppressWarnings("NullAway")
    T get() {
      if (thrown != null) {
        Throwables.sneak(thrown);
      }
      return result;
    }
  }
}
