package io.candle4j.internal;

import java.nio.channels.spi.AbstractInterruptibleChannel;
import java.util.ArrayDeque;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Calls that block in native code.
 *
 * <p>A downcall pins the carrier of a virtual thread. So what a virtual thread asks for runs on a
 * platform thread of its own, while the virtual thread parks. Listeners are called on that platform
 * thread.
 *
 * <p>Native code does not see {@link Thread#interrupt()} either: it is told to stop by the thread
 * that interrupts.
 */
public final class BlockingCalls {
  private static final AtomicLong THREADS = new AtomicLong();

  /** The innermost call of a thread that an interrupt stops. */
  private static final ThreadLocal<@Nullable Interruption> WATCHING = new ThreadLocal<>();

  private BlockingCalls() {}

  /**
   * Starts a platform thread, a daemon with the context class loader of this one. There is no pool:
   * a thread is started in a fraction of the time that a call takes, leaves no class loader behind,
   * and cannot lose a task when the heap is full.
   *
   * @param task what it runs
   */
  public static void start(Runnable task) {
    Thread.ofPlatform()
        .daemon()
        .inheritInheritableThreadLocals(false)
        .stackSize(Threads.STACK_SIZE)
        .name("candle4j-call-" + THREADS.incrementAndGet())
        .start(task);
  }

  /**
   * Runs a call that ends soon after {@code stop}, which is run when this thread is interrupted.
   *
   * @param call the call
   * @param stop makes it end; called on any thread, maybe too late
   * @return what the call returns
   */
  static <T extends @Nullable Object> T run(Supplier<T> call, Runnable stop) {
    if (!Thread.currentThread().isVirtual()) {
      return stoppable(call, stop);
    }
    Task<T> task = new Task<>(call);
    Starter.start(task);
    boolean interrupted = false;
    while (true) {
      try {
        task.done.await();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
        stop.run();
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    return task.outcome();
  }

  /**
   * Runs a call that nothing stops, and that takes milliseconds at most as a rule.
   *
   * @param call the call
   * @return what the call returns
   */
  static <T extends @Nullable Object> T run(Supplier<T> call) {
    return run(call, () -> {});
  }

  /**
   * Runs a call that nothing stops. When this thread is interrupted, it is left alone, and what it
   * returns is closed.
   *
   * @param call the call
   * @return what the call returns
   * @throws CancellationException when this thread is interrupted
   */
  static <T extends AutoCloseable> T runOrAbandon(Supplier<T> call) {
    Task<T> task = new Task<>(call);
    start(task);
    try {
      task.done.await();
    } catch (InterruptedException e) {
      start(() -> {
        Threads.await(task.done);
        task.discard();
      });
      Thread.currentThread().interrupt();
      throw interrupted();
    }
    return task.outcome();
  }

  /** What a blocking method throws when its thread is interrupted; the interrupt status stays. */
  static CancellationException interrupted() {
    return new CancellationException("the thread was interrupted");
  }

  private static <T extends @Nullable Object> T stoppable(Supplier<T> call, Runnable stop) {
    Interruption interruption = new Interruption(stop);
    Interruption outer = WATCHING.get();
    WATCHING.set(interruption);
    interruption.watch();
    try {
      return call.get();
    } finally {
      interruption.unwatch();
      if (outer == null) {
        WATCHING.remove();
      } else {
        WATCHING.set(outer);
        outer.watch();
      }
    }
  }

  /**
   * Watches for interrupts again behind a listener. A thread is told of them for one channel at a
   * time, so what the listener did with a channel of its own ended that.
   */
  static void watchAgain() {
    Interruption interruption = WATCHING.get();
    if (interruption != null) {
      interruption.watch();
    }
  }

  /**
   * The JDK's own way to be told of an interrupt: a channel that a thread blocks on is closed by
   * the thread that interrupts it.
   */
  private static final class Interruption extends AbstractInterruptibleChannel {
    private final Runnable stop;

    Interruption(Runnable stop) {
      this.stop = stop;
    }

    void watch() {
      begin();
    }

    void unwatch() {
      try {
        end(true);
      } catch (java.nio.channels.AsynchronousCloseException e) {
        // Interrupted: what the call returned or threw tells, and the interrupt status stays.
      }
    }

    @Override
    protected void implCloseChannel() {
      try {
        stop.run();
      } catch (Throwable t) {
        // The thread that interrupts has no part in this. The next token ends the call.
      }
    }
  }

  /**
   * Starts the threads that virtual threads need. To start one takes a while where many want to
   * run, during which the virtual thread would hold its carrier.
   */
  private static final class Starter implements Runnable {
    private static final ArrayDeque<Task<?>> WAITING = new ArrayDeque<>();
    private static boolean running;

    static void start(Task<?> task) {
      synchronized (WAITING) {
        if (!running) {
          BlockingCalls.start(new Starter());
          running = true;
        }
        WAITING.add(task);
      }
    }

    @Override
    public void run() {
      for (Task<?> task; (task = next()) != null; ) {
        try {
          BlockingCalls.start(task);
        } catch (Throwable t) {
          task.fail(t);
        }
      }
    }

    private static @Nullable Task<?> next() {
      synchronized (WAITING) {
        Task<?> task = WAITING.poll();
        running = task != null;
        return task;
      }
    }
  }

  private static final class Task<T extends @Nullable Object> implements Runnable {
    final CountDownLatch done = new CountDownLatch(1);
    private final Supplier<T> call;

    /** That of the caller, whoever starts the thread. */
    private final @Nullable ClassLoader loader = Thread.currentThread().getContextClassLoader();

    private @Nullable T result;
    private @Nullable Throwable thrown;

    Task(Supplier<T> call) {
      this.call = call;
    }

    @Override
    public void run() {
      try {
        Thread.currentThread().setContextClassLoader(loader);
        result = call.get();
      } catch (Throwable t) {
        thrown = t;
      } finally {
        done.countDown();
      }
    }

    void fail(Throwable t) {
      thrown = t;
      done.countDown();
    }

    // What the call returned has its type; before it is done, nobody asks.
    @SuppressWarnings("NullAway")
    T outcome() {
      if (thrown != null) {
        Throwables.sneak(thrown);
      }
      return result;
    }

    void discard() {
      if (result instanceof AutoCloseable closeable) {
        try {
          closeable.close();
        } catch (Exception e) {
          // Nobody waits for it.
        }
      }
    }
  }
}
