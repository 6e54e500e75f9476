package io.candle4j.server;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A model that is loaded when it is needed, and unloaded when it was not for a while.
 *
 * @param <T> the model
 */
final class Resident<T extends AutoCloseable> {
  private final Supplier<T> load;
  private final ReentrantLock lock = new ReentrantLock();
  private @Nullable T model;
  private int users;
  private long idleSince;
  private @Nullable Duration keepAlive;
  private boolean closed;

  Resident(Supplier<T> load, Duration keepAlive) {
    this.load = load;
    this.keepAlive = keepAlive;
  }

  /**
   * The model in use, until it is closed.
   *
   * @param <T> the model
   */
  interface Lease<T> extends AutoCloseable {
    T model();

    @Override
    void close();
  }

  /**
   * Uses the model, and loads it first where it is not. Callers at the same time load it once.
   *
   * @param place is given back with the model
   */
  Lease<T> use(Places.Place place) {
    lock.lock();
    try {
      if (closed) {
        throw ApiException.ending();
      }
      if (model == null) {
        model = load.get();
      }
      users++;
      return new Used(model, place);
    } finally {
      lock.unlock();
    }
  }

  private final class Used implements Lease<T> {
    private final T used;
    private final Places.Place place;
    private boolean given;

    private Used(T used, Places.Place place) {
      this.used = used;
      this.place = place;
    }

    @Override
    public T model() {
      return used;
    }

    @Override
    public void close() {
      lock.lock();
      try {
        if (!given) {
          given = true;
          place.close();
          users--;
          idleSince = System.nanoTime();
          if (closed) {
            unloadUnused();
          }
        }
      } finally {
        lock.unlock();
      }
    }
  }

  /** The model, if it is loaded; it may be unloaded at any time. */
  Optional<T> loaded() {
    if (!lock.tryLock()) {
      return Optional.empty();
    }
    try {
      return Optional.ofNullable(model);
    } finally {
      lock.unlock();
    }
  }

  /** How long it stays when nobody uses it from now on; null for ever. */
  void keepAlive(@Nullable Duration time) {
    lock.lock();
    try {
      keepAlive = time;
    } finally {
      lock.unlock();
    }
  }

  /** Unloads it if its time is over. Does not wait for one that is being loaded. */
  void unloadIdle() {
    if (!lock.tryLock()) {
      return;
    }
    try {
      if (keepAlive != null && System.nanoTime() - idleSince >= keepAlive.toNanos()) {
        unloadUnused();
      }
    } finally {
      lock.unlock();
    }
  }

  /** Unloads it, now or when its last user is done, and loads it no more. */
  void close() {
    lock.lock();
    try {
      closed = true;
      unloadUnused();
    } finally {
      lock.unlock();
    }
  }

  private void unloadUnused() {
    if (users > 0 || model == null) {
      return;
    }
    T unused = model;
    model = null;
    try {
      unused.close();
    } catch (Exception e) {
      System.getLogger("io.candle4j.server")
          .log(System.Logger.Level.WARNING, "a model could not be unloaded", e);
    }
  }
}
