package io.candle4j.internal;

import io.candle4j.Token;
import io.candle4j.TokenListener;
import io.candle4j.bindings.c4j_token_fn;
import io.candle4j.bindings.candle4j_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import org.jspecify.annotations.Nullable;

/**
 * Where native code reports tokens to: one stub a session, made once.
 *
 * <p>Nothing may leave an upcall as an exception, which would end the JVM. What a listener throws
 * is kept, generation is told to stop, and {@link #rethrow} throws it to the caller of the
 * downcall.
 */
final class TokenUpcall {
  static final MethodHandle APPLY =
      Upcalls.method(MethodHandles.lookup(), "apply", c4j_token_fn.descriptor());

  private final MemorySegment stub;
  private @Nullable TokenListener listener;
  private @Nullable Throwable thrown;

  TokenUpcall(Arena arena) {
    stub = Upcalls.stub(c4j_token_fn.descriptor(), APPLY, this, arena);
  }

  /** The function pointer. */
  MemorySegment stub() {
    return stub;
  }

  /** Sets the listener of the next call; null for none. */
  void arm(@Nullable TokenListener listener) {
    this.listener = listener;
    this.thrown = null;
  }

  /** Called by native code. Allocates nothing outside of the {@code try}. */
  @SuppressWarnings("unused")
  private int apply(long userData, int id, long text, long length) {
    try {
      if (Thread.currentThread().isInterrupted()) {
        return candle4j_h.C4J_STOP();
      }
      if (listener != null) {
        listener.onToken(new Token(id, Memory.text(text, length)));
      }
      return candle4j_h.C4J_CONTINUE();
    } catch (Throwable t) {
      thrown = t;
      return candle4j_h.C4J_FAILED();
    }
  }

  /** Throws what the listener threw during the last call, if it did. */
  void rethrow() {
    Throwable t = thrown;
    thrown = null;
    if (t != null) {
      Throwables.sneak(t);
    }
  }
}
