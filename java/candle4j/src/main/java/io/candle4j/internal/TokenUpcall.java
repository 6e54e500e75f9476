package io.candle4j.internal;

import io.candle4j.Token;
import io.candle4j.TokenListener;
import io.candle4j.bindings.c4j_token_fn;
import io.candle4j.bindings.candle4j_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Where native code reports tokens to: one stub a session, made once.
 *
 * <p>Nothing may leave an upcall as an exception, which would end the JVM. What a listener throws
 * is kept, generation is told to stop, and {@link #rethrow} throws it to the caller of the
 * downcall.
 */
final class TokenUpcall implements c4j_token_fn.Function {
  private final MemorySegment stub;
  private @Nullable TokenListener listener;
  private @Nullable Throwable thrown;

  TokenUpcall(Arena arena) {
    stub = c4j_token_fn.allocate(this, arena);
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

  @Override
  public int apply(MemorySegment userData, int id, MemorySegment text, long length) {
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
