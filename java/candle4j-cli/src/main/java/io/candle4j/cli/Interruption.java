package io.candle4j.cli;

import java.time.Duration;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.jline.utils.Signals;
import org.jspecify.annotations.Nullable;

/**
 * What Ctrl-C and SIGTERM do.
 *
 * <p>Both begin the JVM's shutdown, which ends it with status 130 or 143. A shutdown hook uses the
 * time before that: it stops what is under way and waits until the main thread has printed what
 * there is. A second Ctrl-C waits for nothing.
 */
final class Interruption {
  /** How long a generation may take to stop: it heeds that only between chunks of its prompt. */
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  /** A download stops within a second; reading weights does not stop at all. */
  private static final Duration LITTLE_PATIENCE = Duration.ofSeconds(2);

  private static final long AGAIN_MILLIS = 20;

  private final CountDownLatch finished = new CountDownLatch(1);
  private volatile boolean requested;
  private @Nullable Work work;

  /** Something that can be stopped. */
  private record Work(Runnable stop, Duration patience, CountDownLatch ended) {}

  /** Starts to heed signals. */
  void watchShutdown() {
    Runtime.getRuntime().addShutdownHook(new Thread(this::onShutdown, "candle-interruption"));
  }

  /** Says that nothing is left to be done, so that a shutdown from now on is an ordinary one. */
  void finish() {
    finished.countDown();
  }

  /** Whether the program has been asked to end. */
  boolean isRequested() {
    return requested;
  }

  /**
   * Does something that can be stopped.
   *
   * @param stop stops it, from another thread; called again and again until it has ended, since it
   *     may not have begun when it is called first
   * @param body what is done, including to print its outcome
   */
  <T> T during(Runnable stop, Supplier<T> body) {
    return during(stop, PATIENCE, body);
  }

  /** Does something that ends with an exception when its thread is interrupted. */
  <T> T during(Supplier<T> body) {
    Thread thread = Thread.currentThread();
    try {
      return during(thread::interrupt, LITTLE_PATIENCE, body);
    } finally {
      Thread.interrupted();
    }
  }

  private <T> T during(Runnable stop, Duration patience, Supplier<T> body) {
    Work mine = new Work(stop, patience, new CountDownLatch(1));
    synchronized (this) {
      if (requested) {
        throw new CancellationException("interrupted");
      }
      work = mine;
    }
    try {
      return body.get();
    } finally {
      synchronized (this) {
        work = null;
      }
      mine.ended.countDown();
    }
  }

  /**
   * Stops what is under way, if anything is, and waits for its end.
   *
   * @return whether something was under way and has ended
   */
  boolean stop() {
    Work current;
    synchronized (this) {
      current = work;
    }
    if (current == null) {
      return false;
    }
    long deadline = System.nanoTime() + current.patience.toNanos();
    do {
      current.stop.run();
      if (await(current.ended, AGAIN_MILLIS)) {
        return true;
      }
    } while (System.nanoTime() < deadline);
    return false;
  }

  private void onShutdown() {
    if (finished.getCount() == 0) {
      return;
    }
    synchronized (this) {
      requested = true;
    }
    Signals.register("INT", () -> Runtime.getRuntime().halt(ExitCode.INTERRUPTED));
    if (stop()) {
      await(finished, LITTLE_PATIENCE.toMillis());
    }
  }

  private static boolean await(CountDownLatch latch, long millis) {
    try {
      return latch.await(millis, TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      // The threads that wait here are those of signals, which nobody interrupts.
      throw new AssertionError(e);
    }
  }
}
