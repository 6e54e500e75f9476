package io.candle4j.spark;

import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Objects;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Function;
import org.apache.spark.TaskContext;
import org.apache.spark.TaskKilledException;
import org.jspecify.annotations.Nullable;

/**
 * The results of a partition's rows, in order. Several rows are worked on at a time; rows are taken
 * from the partition as there is room for them, and never all at once.
 *
 * @param <I> a row
 * @param <O> its result
 */
final class RowsInFlight<I, O> implements Iterator<O>, AutoCloseable {
  /**
   * Results that wait for a slower row before them, as a multiple of the rows that are worked on.
   */
  private static final int AHEAD = 8;

  /** How often a task that waits looks whether it was killed. */
  private static final long LOOK_MILLIS = 100;

  private final Iterator<I> rows;
  private final Function<I, CompletableFuture<O>> work;
  private final int parallel;
  private final @Nullable TaskContext task;
  private final ArrayDeque<CompletableFuture<O>> results = new ArrayDeque<>();
  private final Object change = new Object();
  private int running;
  private boolean isExhausted;

  /**
   * Takes no row yet.
   *
   * @param work starts a row's work; completing its result in another way stops it
   * @param parallel how many rows are worked on at a time
   * @param task who may be killed; null where there is no task
   */
  RowsInFlight(
      Iterator<I> rows,
      Function<I, CompletableFuture<O>> work,
      int parallel,
      @Nullable TaskContext task) {
    this.rows = rows;
    this.work = work;
    this.parallel = parallel;
    this.task = task;
  }

  @Override
  public boolean hasNext() {
    return !results.isEmpty() || (!isExhausted && rows.hasNext());
  }

  @Override
  public O next() {
    // One a result, so that the model stays busy and nobody waits for rows that nobody reads.
    startRow();
    CompletableFuture<O> first = results.peek();
    if (first == null) {
      throw new NoSuchElementException();
    }
    // Taking a row may take long, so each time a result may be there already.
    while (!first.isDone()) {
      if (!startRow()) {
        awaitChange(first);
      }
    }
    results.remove();
    try {
      return first.join();
    } catch (CompletionException e) {
      throw RowsInFlight.<RuntimeException>failure(e.getCause());
    }
  }

  /** Throws a failure as it came, declared or not: Spark's iterators are Scala's. */
  @SuppressWarnings({"unchecked", "TypeParameterUnusedInFormals"})
  private static <E extends Throwable> E failure(@Nullable Throwable failure) throws E {
    throw (E) Objects.requireNonNull(failure);
  }

  /** Starts one more row, unless there is none, or no room. */
  private boolean startRow() {
    if (isExhausted || !hasRoom()) {
      return false;
    }
    CompletableFuture<O> result;
    try {
      if (!rows.hasNext()) {
        isExhausted = true;
        return false;
      }
      I row = rows.next();
      synchronized (change) {
        running++;
      }
      result = work.apply(row);
    } catch (Throwable e) {
      // It belongs behind the results of the rows before.
      isExhausted = true;
      results.add(CompletableFuture.failedFuture(e));
      return true;
    }
    results.add(result);
    result.whenComplete((value, failure) -> {
      synchronized (change) {
        running--;
        change.notifyAll();
      }
    });
    return true;
  }

  private boolean hasRoom() {
    synchronized (change) {
      return running < parallel && results.size() < parallel * AHEAD;
    }
  }

  /** Waits until the first row is done, or another one may start. */
  private void awaitChange(CompletableFuture<O> first) {
    synchronized (change) {
      while (!first.isDone() && (isExhausted || !hasRoom())) {
        if (task != null && task.isInterrupted()) {
          throw new TaskKilledException("killed while a model worked");
        }
        try {
          change.wait(LOOK_MILLIS);
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          throw (CancellationException)
              new CancellationException("interrupted while a model worked").initCause(e);
        }
      }
    }
  }

  /** Stops what is worked on. */
  @Override
  public void close() {
    isExhausted = true;
    for (CompletableFuture<O> result : results) {
      result.cancel(true);
    }
    results.clear();
  }
}
