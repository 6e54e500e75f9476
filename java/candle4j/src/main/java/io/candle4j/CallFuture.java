package io.candle4j;

import io.candle4j.internal.BlockingCalls;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.Supplier;

/**
 * The result of a call to come. Whoever completes it, or a stage that depends on it, before the
 * call has, stops the call: {@code cancel}, {@code orTimeout}, {@code completeOnTimeout} and so on.
 *
 * @param <T> the result's type
 */
final class CallFuture<T> extends CompletableFuture<T> {
  /** A call that is to be stopped. */
  interface Call {
    /** Lets whatever follows the call wait for its end. */
    void aboutToStop();

    /** Stops the call; does nothing when it has ended. */
    void stop();
  }

  private final Call call;

  private CallFuture(Call call) {
    this.call = call;
  }

  /**
   * Runs a call on a platform thread.
   *
   * @param supplier runs the call
   * @param call the call
   */
  static <T> CompletableFuture<T> start(Supplier<T> supplier, Call call) {
    CallFuture<T> future = new CallFuture<>(call);
    BlockingCalls.start(() -> future.end(supplier));
    return future;
  }

  private void end(Supplier<T> supplier) {
    T result;
    try {
      result = supplier.get();
    } catch (Throwable t) {
      super.completeExceptionally(t);
      return;
    }
    super.complete(result);
  }

  /** Dependent stages stop the same call. */
  @Override
  public <U> CompletableFuture<U> newIncompleteFuture() {
    return new CallFuture<>(call);
  }

  @Override
  public boolean complete(T value) {
    call.aboutToStop();
    return stopIf(super.complete(value));
  }

  @Override
  public boolean completeExceptionally(Throwable thrown) {
    call.aboutToStop();
    return stopIf(super.completeExceptionally(thrown));
  }

  @Override
  public boolean cancel(boolean mayInterruptIfRunning) {
    call.aboutToStop();
    return stopIf(super.cancel(mayInterruptIfRunning));
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
    call.aboutToStop();
    super.obtrudeValue(value);
    call.stop();
  }

  @Override
  public void obtrudeException(Throwable thrown) {
    call.aboutToStop();
    super.obtrudeException(thrown);
    call.stop();
  }

  private boolean stopIf(boolean completed) {
    if (completed) {
      call.stop();
    }
    return completed;
  }
}
