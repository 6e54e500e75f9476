package io.candle4j.internal;

import java.lang.ref.Cleaner;

/** What is done when objects become unreachable, on one thread of this library. */
public final class Cleaners {
  private static final Cleaner CLEANER = Cleaner.create();

  private Cleaners() {}

  /**
   * Runs something once: when an object has become unreachable, or before that by {@link
   * Cleaner.Cleanable#clean}.
   *
   * @param object the object
   * @param action what to run; it must not refer to the object
   * @return the registration
   */
  public static Cleaner.Cleanable onUnreachable(Object object, Runnable action) {
    return CLEANER.register(object, action);
  }
}
