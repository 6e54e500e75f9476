package io.candle4j.internal;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Cleaner;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A pointer to something native, and the rule that nobody uses it once it is freed.
 *
 * <p>Calls go through {@link #call}, which counts them. {@link #close} asks calls under way to
 * stop, waits a moment for them, and frees; whoever is last frees. A handle that is forgotten is
 * freed when it becomes unreachable, with a warning.
 */
class NativeHandle implements AutoCloseable {
  private static final Logger LOGGER = System.getLogger("io.candle4j");

  /** How long close waits for calls that it has stopped. A listener may hold one for longer. */
  private static final long WAIT_MILLIS = 150;

  /** Which handle each thread waits for in close. Its lock is taken before that of a handle. */
  private static final Map<Thread, NativeHandle> WAITING = new HashMap<>();

  private final String name;
  private final Resource resource;
  private final Cleaner.Cleanable cleanable;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition freed = lock.newCondition();
  private final List<Thread> inside = new ArrayList<>();
  private boolean closing;
  private boolean isFreed;

  /**
   * Takes over a pointer.
   *
   * @param name what messages call it
   * @param pointer the pointer
   * @param free frees the pointer
   */
  NativeHandle(String name, MemorySegment pointer, Consumer<MemorySegment> free) {
    this.name = name;
    this.resource = new Resource(name, pointer, free);
    this.cleanable = Cleaners.onUnreachable(this, resource);
  }

  /**
   * Runs a downcall, during which the pointer is valid.
   *
   * @throws IllegalStateException after close
   * @throws StackOverflowError if the thread has too little stack left; nothing has happened then
   */
  <T extends @Nullable Object> T call(Function<MemorySegment, T> downcall) {
    StackGuard.check();
    enter();
    try {
      return downcall.apply(resource.pointer);
    } finally {
      exit();
    }
  }

  /** What messages call it. */
  String name() {
    return name;
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
      freeIfUnused();
    } finally {
      lock.unlock();
    }
  }

  private void freeIfUnused() {
    if (closing && inside.isEmpty() && !isFreed) {
      isFreed = true;
      resource.expected = true;
      try {
        cleanable.clean();
      } finally {
        freed.signalAll();
      }
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
   * Stops calls under way, waits for them, and frees. A call that has not ended after {@value
   * #WAIT_MILLIS} ms, or when this thread is interrupted, frees when it ends. Does nothing the
   * second time but wait.
   *
   * @throws IllegalStateException from inside a call of this handle (from a listener), which would
   *     wait for itself, or from inside a call that a call of this handle waits for; in the second
   *     case this handle is freed when its calls are over
   * @throws StackOverflowError if the thread has too little stack left; nothing has happened then
   */
  @Override
  public void close() {
    StackGuard.check();
    Thread current = Thread.currentThread();
    lock.lock();
    try {
      if (inside.contains(current)) {
        throw new IllegalStateException(
            "this " + name + " cannot be closed from inside a listener of its own call");
      }
      if (!closing) {
        closing = true;
        try {
          stopCalls(resource.pointer);
        } finally {
          freeIfUnused();
        }
      }
      if (isFreed) {
        return;
      }
    } finally {
      lock.unlock();
    }
    waitUntilFreed(current);
  }

  private void waitUntilFreed(Thread current) {
    synchronized (WAITING) {
      if (waitsFor(current)) {
        throw new IllegalStateException(
            "this "
                + name
                + " cannot be closed here: its call waits for the call that this listener belongs to");
      }
      WAITING.put(current, this);
    }
    try {
      lock.lock();
      try {
        long left = TimeUnit.MILLISECONDS.toNanos(WAIT_MILLIS);
        while (!isFreed && left > 0) {
          left = freed.awaitNanos(left);
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      } finally {
        lock.unlock();
      }
    } finally {
      synchronized (WAITING) {
        WAITING.remove(current);
      }
    }
  }

  /** Whether a call of this handle waits, maybe by way of others, for a call of that thread. */
  private boolean waitsFor(Thread thread) {
    for (Thread holder : threadsInside()) {
      NativeHandle next = WAITING.get(holder);
      if (next != null && (next.threadsInside().contains(thread) || next.waitsFor(thread))) {
        return true;
      }
    }
    return false;
  }

  private List<Thread> threadsInside() {
    lock.lock();
    try {
      return List.copyOf(inside);
    } finally {
      lock.unlock();
    }
  }

  /** What is freed, apart from the handle, so that the cleaner does not keep the handle alive. */
  private static final class Resource implements Runnable {
    private final String name;
    private final MemorySegment pointer;
    private final Consumer<MemorySegment> free;
    private volatile boolean expected;

    Resource(String name, MemorySegment pointer, Consumer<MemorySegment> free) {
      this.name = name;
      this.pointer = pointer;
      this.free = free;
    }

    @Override
    public void run() {
      if (!expected) {
        LOGGER.log(Level.WARNING, "a {0} was not closed; its memory is freed now", name);
      }
      // To give memory back may take longer than a virtual thread should hold its carrier.
      if (Thread.currentThread().isVirtual()) {
        BlockingCalls.run(() -> {
          free.accept(pointer);
          return null;
        });
      } else {
        free.accept(pointer);
      }
    }
  }
}
