package io.candle4j.server;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A model that is loaded when it is needed, and unloaded when it was not for a while.
 *
 * @param <T> the model
 */
final class Resident<T extends AutoCloseable> {
  private static final System.Logger LOGGER = System.getLogger("io.candle4j.server");

  private final Supplier<T> load;
  private final Duration usualKeepAlive;
  private final ReentrantLock lock = new ReentrantLock();
  private @Nullable CompletableFuture<T> model;
  private int users;
  private long idleSince;
  private @Nullable Duration keepAlive;
  private boolean closed;

  Resident(Supplier<T> load, Duration keepAlive) {
    this.load = load;
    this.usualKeepAlive = keepAlive;
    this.keepAlive = keepAlive;
  }

  /**
   * Uses the model, and loads it first where it is not. Callers at the same time load it once; one
   * whose client leaves meanwhile does not wait for that.
   *
   * @throws ClientLeftException when the client leaves meanwhile
   */
  Lease use(ClientWatch watch) {
    CompletableFuture<T> loading;
    lock.lock();
    try {
      if (closed) {
        throw ApiException.ending();
      }
      if (model == null) {
        model = load();
      }
      loading = model;
      users++;
      keepAlive = usualKeepAlive;
    } finally {
      lock.unlock();
    }
    try {
      return new Lease(watch.interruptibly(() -> get(loading)));
    } catch (Throwable e) {
      leave();
      throw e;
    }
  }

  private CompletableFuture<T> load() {
    CompletableFuture<T> loading = new CompletableFuture<>();
    Thread.ofVirtual()
        .name("candle4j-loading")
        .start(() -> {
          try {
            loading.complete(load.get());
          } catch (Throwable e) {
            forget(loading);
            loading.completeExceptionally(e);
          }
          unload(false);
        });
    return loading;
  }

  private static <T> T get(CompletableFuture<T> loading) throws InterruptedException {
    try {
      return loading.get();
    } catch (ExecutionException e) {
      if (e.getCause() instanceof RuntimeException failure) {
        throw failure;
      }
      throw new IllegalStateException(e.getCause());
    }
  }

  /** Lets the next caller try again. */
  private void forget(CompletableFuture<T> failed) {
    lock.lock();
    try {
      if (model == failed) {
        model = null;
      }
    } finally {
      lock.unlock();
    }
  }

  private void leave() {
    lock.lock();
    try {
      users--;
      idleSince = System.nanoTime();
    } finally {
      lock.unlock();
    }
    unload(false);
  }

  /** The model in use, until it is closed, which happens once. */
  final class Lease implements AutoCloseable {
    private final T used;

    private Lease(T used) {
      this.used = used;
    }

    T model() {
      return used;
    }

    /** How long the model stays when nobody uses it from now on; null for ever. */
    void keepAlive(@Nullable Duration time) {
      lock.lock();
      try {
        keepAlive = time;
      } finally {
        lock.unlock();
      }
    }

    @Override
    public void close() {
      leave();
    }
  }

  /** The model, if it is loaded; it may be unloaded at any time. */
  Optional<T> loaded() {
    lock.lock();
    try {
      return model == null || !model.isDone() || model.isCompletedExceptionally()
          ? Optional.empty()
          : Optional.of(model.getNow(null));
    } finally {
      lock.unlock();
    }
  }

  /** Unloads it if its time is over. */
  void unloadIdle() {
    unload(true);
  }

  /** Unloads it, now or when its last user is done, and loads it no more. */
  void close() {
    lock.lock();
    try {
      closed = true;
    } finally {
      lock.unlock();
    }
    unload(false);
  }

  private void unload(boolean whenIdle) {
    T unused;
    lock.lock();
    try {
      boolean over = whenIdle && isTimeOver();
      Optional<T> loaded = loaded();
      if (users > 0 || loaded.isEmpty() || !(closed || over)) {
        return;
      }
      unused = loaded.get();
      model = null;
    } finally {
      lock.unlock();
    }
    try {
      unused.close();
    } catch (Exception e) {
      LOGGER.log(System.Logger.Level.WARNING, "a model could not be unloaded", e);
    }
  }

  private boolean isTimeOver() {
    return keepAlive != null
        && Duration.ofNanos(System.nanoTime() - idleSince).compareTo(keepAlive) >= 0;
  }
}
