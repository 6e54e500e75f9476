package io.candle4j.spark;

import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The models of this executor: one of each, shared by its tasks, and closed when no task used it
 * for a while.
 */
final class ExecutorModels {
  /** So that the stages of a job, and jobs one after the other, find the model loaded. */
  private static final Duration KEEP = Duration.ofMinutes(10);

  private static final Map<Object, Shared<?>> MODELS = new ConcurrentHashMap<>();

  private static final ScheduledExecutorService TIMER =
      Executors.newSingleThreadScheduledExecutor(
          Thread.ofPlatform().daemon().name("candle4j-spark-idle").factory());

  private ExecutorModels() {}

  /**
   * Uses a model, and loads it first where it is not. Tasks that come meanwhile wait for the same
   * load; its failure is theirs, and the next task tries again.
   *
   * @param key what models of the same weights and settings have in common
   * @param load loads it, on a thread of its own
   * @throws CancellationException when this thread is interrupted meanwhile
   */
  @SuppressWarnings("unchecked") // A key holds the class of what it stands for.
  static <T extends AutoCloseable> Lease<T> use(Object key, Supplier<T> load) {
    Shared<T> shared = (Shared<T>) MODELS.computeIfAbsent(key, k -> new Shared<>());
    return shared.use(load);
  }

  /** A model in use, until it is closed; to be closed once. */
  static final class Lease<T extends AutoCloseable> implements AutoCloseable {
    private final Shared<T> shared;
    private final T model;

    private Lease(Shared<T> shared, T model) {
      this.shared = shared;
      this.model = model;
    }

    T model() {
      return model;
    }

    @Override
    public void close() {
      shared.leave();
    }
  }

  private static final class Shared<T extends AutoCloseable> {
    private @Nullable CompletableFuture<T> model;
    private int users;
    private long idleSince;
    private boolean isTimed;

    Lease<T> use(Supplier<T> load) {
      CompletableFuture<T> loading;
      synchronized (this) {
        users++;
        if (model == null || model.isCompletedExceptionally()) {
          model = load(load);
        }
        loading = model;
      }
      try {
        return new Lease<>(this, get(loading));
      } catch (Throwable e) {
        leave();
        throw e;
      }
    }

    /** Not on the task's thread: a task that is killed must not end the load of the others. */
    private static <T> CompletableFuture<T> load(Supplier<T> load) {
      CompletableFuture<T> loading = new CompletableFuture<>();
      Thread.ofPlatform()
          .daemon()
          .name("candle4j-spark-load")
          .start(() -> {
            try {
              loading.complete(load.get());
            } catch (Throwable e) {
              loading.completeExceptionally(e);
            }
          });
      return loading;
    }

    private static <T> T get(CompletableFuture<T> loading) {
      try {
        return loading.get();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw (CancellationException)
            new CancellationException("interrupted while a model was loaded").initCause(e);
      } catch (ExecutionException e) {
        throw e.getCause() instanceof RuntimeException failure
            ? failure
            : new IllegalStateException(e.getCause());
      }
    }

    synchronized void leave() {
      users--;
      if (users == 0) {
        idleSince = System.nanoTime();
        time(KEEP.toNanos());
      }
    }

    /** One timer at a time: a function of SQL uses and leaves a model once a row. */
    private void time(long nanos) {
      if (!isTimed) {
        isTimed = true;
        TIMER.schedule(this::closeIfIdle, nanos, TimeUnit.NANOSECONDS);
      }
    }

    private void closeIfIdle() {
      CompletableFuture<T> idle;
      synchronized (this) {
        isTimed = false;
        if (users > 0) {
          return;
        }
        long rest = KEEP.toNanos() - (System.nanoTime() - idleSince);
        if (rest > 0) {
          time(rest);
          return;
        }
        idle = model;
        model = null;
      }
      if (idle != null) {
        // One whose load nobody waited for is closed when it is there.
        idle.thenAccept(ExecutorModels::close);
      }
    }
  }

  private static void close(AutoCloseable model) {
    try {
      model.close();
    } catch (Exception e) {
      System.getLogger("io.candle4j.spark").log(System.Logger.Level.WARNING, "closing a model", e);
    }
  }
}
