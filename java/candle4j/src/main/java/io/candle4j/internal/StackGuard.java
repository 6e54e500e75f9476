package io.candle4j.internal;

import io.candle4j.bindings.candle4j_h;

/**
 * Makes sure that a call has the stack that it needs, before it changes anything.
 *
 * <p>A {@link StackOverflowError} in the middle of a call would leave locks held and handles busy,
 * and one between native code and a callback ends the JVM. So it is thrown here, where nothing has
 * happened yet.
 */
final class StackGuard {
  /**
   * Bytes that a call needs on the stack: 64 KiB of native code, what the JVM keeps free below Java
   * code (about 96 KiB in a callback, when native code has used little), and the frames of this
   * package. It leaves a thread of 256 KiB room for callers.
   */
  private static final long NEEDED = 160 << 10;

  /** Bytes that a first call may need, which links methods and loads classes. */
  private static final long NEEDED_FIRST = 512 << 10;

  private static volatile boolean warm;

  private StackGuard() {}

  /**
   * Checks the stack of the calling thread.
   *
   * @throws StackOverflowError if too little is left
   */
  static void check() {
    long left = candle4j_h.c4j_stack_remaining();
    if (left < NEEDED_FIRST) {
      if (!warm) {
        Threads.call("candle4j-warm-up", WarmUp::run);
        warm = true;
      }
      if (left < NEEDED) {
        throw new StackOverflowError(
            "candle4j needs " + NEEDED + " bytes of stack, " + left + " are left");
      }
    }
  }
}
