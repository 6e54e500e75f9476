package io.candle4j.internal;

import java.lang.foreign.MemorySegment;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.function.LongFunction;

/**
 * The calls on a model that several threads use at once, each of which can be cancelled by its
 * number: before it begins, and while it runs.
 */
final class NumberedCalls {
  /** UINT64_MAX: all calls from now on. */
  private static final long ALL_CALLS = -1;

  /** A generated function that cancels a call. */
  interface Cancel {
    int call(MemorySegment handle, long number, MemorySegment error);
  }

  private final NativeHandle handle;
  private final Cancel cancel;
  private final AtomicLong last = new AtomicLong();
  private final Set<Long> cancelled = ConcurrentHashMap.newKeySet();

  NumberedCalls(String name, MemorySegment pointer, Consumer<MemorySegment> free, Cancel cancel) {
    this.cancel = cancel;
    this.handle =
        new NativeHandle(name, pointer, free) {
          @Override
          void stopCalls(MemorySegment own) {
            cancel.call(own, ALL_CALLS, MemorySegment.NULL);
          }
        };
  }

  NativeHandle handle() {
    return handle;
  }

  /** A number for a call. */
  long next() {
    return last.incrementAndGet();
  }

  /** Says that a call is over. */
  void forget(long number) {
    cancelled.remove(number);
  }

  /** Cancels a call, which may have several parts: none begins after this. */
  void cancel(long number) {
    cancelled.add(number);
    try {
      handle.call(pointer -> cancel.call(pointer, number, MemorySegment.NULL));
    } catch (IllegalStateException closed) {
      // That stops all calls.
    }
  }

  /**
   * Runs a call, or a part of one, on this thread's behalf; an interrupt cancels it.
   *
   * @param call its number; 0 for one of its own
   * @param work what runs, with the number
   * @throws CancellationException when it was cancelled, or this thread is interrupted
   */
  <T> T run(long call, LongFunction<T> work) {
    long number = call == 0 ? next() : call;
    if (cancelled.contains(number)) {
      throw new CancellationException("the call was cancelled");
    }
    try {
      return BlockingCalls.run(() -> work.apply(number), () -> cancel(number));
    } finally {
      if (call == 0) {
        forget(number);
      }
    }
  }
}
