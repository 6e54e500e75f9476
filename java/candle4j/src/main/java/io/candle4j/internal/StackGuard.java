package io.candle4j.internal;

import io.candle4j.bindings.candle4j_h;

/**
 * Makes sure that a call has the stack that it needs, before it changes anything.
 *
 * <p>A {@link StackOverflowError} in the middle of a call would leave locks held and handles busy,
 * one while a class or a lambda is linked makes that unusable for good, and one between native code
 * and a callback ends the JVM. So it is thrown here, where nothing has happened yet: at the
 * beginning of every method that makes a lambda or calls native code.
 *
 * <p>This class itself links nothing late: no lambda, no concatenation of strings.
 */
public final class StackGuard {
  /**
   * Bytes that a call needs on the stack: 64 KiB of native code, what the JVM keeps free below Java
   * code (about 96 KiB in a callback, when native code has used little), and the frames of this
   * package. It leaves a thread of 256 KiB room for callers.
   */
  private static final long NEEDED = 160 << 10;

  /** Bytes that a first call may need, which links methods and loads classes. */
  private static final long NEEDED_FIRST = 512 << 10;

  private static final WarmUp WARM_UP = new WarmUp();

  private static volatile boolean warm;

  private static volatile boolean loaded;

  private StackGuard() {}

  /** Tells that the library can be called. */
  static void libraryIsLoaded() {
    loaded = true;
  }

  /**
   * Checks the stack of the calling thread. Before the library is loaded there is nothing to damage
   * yet, and nothing that could measure the stack.
   *
   * @throws StackOverflowError if too little is left
   */
  public static void check() {
    if (!loaded) {
      return;
    }
    long left = candle4j_h.c4j_stack_remaining();
    if (left < NEEDED_FIRST) {
      if (!warm) {
        Threads.call("candle4j-warm-up", WARM_UP);
        warm = true;
      }
      if (left < NEEDED) {
        throw new StackOverflowError("too little stack is left for a call of candle4j");
      }
    }
  }
}
