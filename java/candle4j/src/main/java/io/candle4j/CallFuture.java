package io.candle4j;

import io.candle4j.internal.BlockingCalls;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;

/**
 * The result of a call to come. Whoever completes it, or a stage that depends on it, before the
 * call has, stops the call: {@code cancel}, {@code orTimeout}, {@code completeOnTimeout} and so on.
 *
 * @param <T> the result's type
 */
final class CallFuture<T> extends CompletableFuture<T> {
  /**
   * How long a result waits for those who complete the future: what depends on it may run for ever.
   */
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  private final Call call;

  private CallFuture(Call call) {
    this.call = call;
  }

  /** The call of a future and of the stages that depend on it. */
  private static final class Call {
    private final Runnable stop;
    private int completing;

    Call(Runnable stop) {
      this.stop = stop;
    }

    /**
     * Stops the call, then completes a future. The call's own result is held back meanwhile, so
     * that the future gets the caller's; and stages that depend on it, which run here, find a call
     * that is about to end.
     */
    boolean stopAnd(BooleanSupplier completion) {
      enter();
      try {
        try {
          stop.run();
        } catch (Throwable t) {
          // With a full stack nothing can be called; the call goes on to its end.
        }
        return completion.getAsBoolean();
      } finally {
        exit();
      }
    }

    private synchronized void enter() {
      completing++;
    }

    private synchronized void exit() {
      completing--;
      notifyAll();
    }

    /** Waits until nobody completes a future of this call. */
    synchronized void awaitCompletions() {
      long deadline = System.nanoTime() + PATIENCE.toNanos();
      try {
        while (completing > 0 && System.nanoTime() < deadline) {
          wait(PATIENCE.toMillis());
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /**
   * Runs a call on a platform thread.
   *
   * @param supplier runs the call
   * @param stop stops it; does nothing when it has ended
   */
  static <T> CompletableFuture<T> start(Supplier<T> supplier, Runnable stop) {
    CallFuture<T> future = new CallFuture<>(new Call(stop));
    BlockingCalls.start(() -> future.end(supplier));
    return future;
  }

  private void end(Supplier<T> supplier) {
    T result;
    try {
      result = supplier.get();
    } catch (Throwable t) {
      call.awaitCompletions();
      super.completeExceptionally(t);
      return;
    }
    call.awaitCompletions();
    super.complete(result);
  }

  /** Dependent stages stop the same call. */
  @Override
  public <U> CompletableFuture<U> newIncompleteFuture() {
    return new CallFuture<>(call);
  }

  @Override
  public boolean complete(T value) {
    return !isDone() && call.stopAnd(() -> super.complete(value));
  }

  @Override
  public boolean completeExceptionally(Throwable thrown) {
    return !isDone() && call.stopAnd(() -> super.completeExceptionally(thrown));
  }

  @Override
  public boolean cancel(boolean mayInterruptIfRunning) {
    // Of one that is done, it tells whether it was cancelled.
    return isDone()
        ? super.cancel(mayInterruptIfRunning)
        : call.stopAnd(() -> super.cancel(mayInterruptIfRunning));
  }

  @Override
  public CompletableFuture<T> completeAsync(Supplier<? extends T> supplier, Executor executor) {
    executor.execute(() -> {
      T value;
      try {
        value = supplier.get();
      } catch (Throwable t) {
        completeExceptionally(t);
        return;
      }
      complete(value);
    });
    return this;
  }

  @Override
  public void obtrudeValue(T value) {
    call.stopAnd(() -> {
      super.obtrudeValue(value);
      return true;
    });
  }

  @Override
  public void obtrudeException(Throwable thrown) {
    call.stopAnd(() -> {
      super.obtrudeException(thrown);
      return true;
    });
  }
}
