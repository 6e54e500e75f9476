package io.candle4j.internal;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Cleaner;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A pointer to something native, and the rule that nobody uses it once it is freed.
 *
 * <p>Calls go through {@link #call}, which counts them. {@link #close} asks calls under way to
 * stop, waits until none is left, and frees. A handle that is forgotten is freed when it becomes
 * unreachable, with a warning.
 */
class NativeHandle implements AutoCloseable {
  private static final Logger LOGGER = System.getLogger("io.candle4j");
  private static final Cleaner CLEANER = Cleaner.create();

  private final String name;
  private final Resource resource;
  private final Cleaner.Cleanable cleanable;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition idle = lock.newCondition();
  private final List<Thread> inside = new ArrayList<>();
  private boolean closing;
  private boolean closed;

  /**
   * Takes over a pointer.
   *
   * @param name what messages call it
   * @param pointer the pointer
   * @param arena memory that lives as long as it; closed after it is freed
   * @param free frees the pointer
   */
  NativeHandle(
      String name, MemorySegment pointer, @Nullable Arena arena, Consumer<MemorySegment> free) {
    this.name = name;
    this.resource = new Resource(name, pointer, arena, free);
    this.cleanable = CLEANER.register(this, resource);
  }

  /**
   * Runs a downcall, during which the pointer is valid.
   *
   * @throws IllegalStateException after close
   */
  <T extends @Nullable Object> T call(Function<MemorySegment, T> downcall) {
    enter();
    try {
      return downcall.apply(resource.pointer);
    } finally {
      exit();
    }
  }

  /** Asks calls under way to stop; they need not. Called once, before close waits for them. */
  void stopCalls(MemorySegment pointer) {}

  private void enter() {
    lock.lock();
    try {
      if (closing) {
        throw new IllegalStateException("this " + name + " is closed");
      }
      inside.add(Thread.currentThread());
    } finally {
      lock.unlock();
    }
  }

  private void exit() {
    lock.lock();
    try {
      inside.remove(Thread.currentThread());
      if (inside.isEmpty()) {
        idle.signalAll();
      }
    } finally {
      lock.unlock();
    }
  }

  /**
   * Whether close was called.
   *
   * @return whether it was
   */
  boolean isClosed() {
    lock.lock();
    try {
      return closing;
    } finally {
      lock.unlock();
    }
  }

  /**
   * Stops calls under way, waits for them, and frees. Does nothing the second time, but returns
   * only when the first is through.
   *
   * @throws IllegalStateException from inside a call of this handle (from a listener), which would
   *     wait for itself
   */
  @Override
  public void close() {
    lock.lock();
    try {
      if (closed) {
        return;
      }
      if (inside.contains(Thread.currentThread())) {
        throw new IllegalStateException(
            "this " + name + " cannot be closed from inside a listener of its own call");
      }
      if (!closing) {
        closing = true;
        stopCalls(resource.pointer);
      }
      while (!closed && !inside.isEmpty()) {
        idle.awaitUninterruptibly();
      }
      if (!closed) {
        resource.expected = true;
        cleanable.clean();
        closed = true;
      }
    } finally {
      lock.unlock();
    }
  }

  /** What is freed, apart from the handle, so that the cleaner does not keep the handle alive. */
  private static final class Resource implements Runnable {
    private final String name;
    private final MemorySegment pointer;
    private final @Nullable Arena arena;
    private final Consumer<MemorySegment> free;
    private volatile boolean expected;

    Resource(
        String name, MemorySegment pointer, @Nullable Arena arena, Consumer<MemorySegment> free) {
      this.name = name;
      this.pointer = pointer;
      this.arena = arena;
      this.free = free;
    }

    @Override
    public void run() {
      if (!expected) {
        LOGGER.log(Level.WARNING, "a {0} was not closed; its memory is freed now", name);
      }
      free.accept(pointer);
      if (arena != null) {
        arena.close();
      }
    }
  }
}
