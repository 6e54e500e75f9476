package io.candle4j.internal;

import io.candle4j.bindings.c4j_progress_fn;
import io.candle4j.bindings.candle4j_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Where native code reports progress to. As {@link TokenUpcall}, for one call. */
final class ProgressUpcall implements AutoCloseable {
  static final MethodHandle APPLY =
      Upcalls.method(MethodHandles.lookup(), "apply", c4j_progress_fn.descriptor());

  private final Arena arena = Arena.ofConfined();
  private final MemorySegment stub;
  private final Consumer<String> listener;
  private @Nullable Throwable thrown;

  /**
   * Makes the stub.
   *
   * @param listener gets each report as JSON
   */
  ProgressUpcall(Consumer<String> listener) {
    this.listener = listener;
    this.stub = Upcalls.stub(c4j_progress_fn.descriptor(), APPLY, this, arena);
  }

  MemorySegment stub() {
    return stub;
  }

  /** Called by native code. Allocates nothing outside of the {@code try}. */
  @SuppressWarnings("unused")
  private int apply(long userData, long json, long length) {
    try {
      if (Thread.currentThread().isInterrupted()) {
        throw BlockingCalls.interrupted();
      }
      listener.accept(Memory.text(json, length));
      return candle4j_h.C4J_CONTINUE();
    } catch (Throwable t) {
      thrown = t;
      return candle4j_h.C4J_FAILED();
    }
  }

  void rethrow() {
    Throwable t = thrown;
    thrown = null;
    if (t != null) {
      Throwables.sneak(t);
    }
  }

  @Override
  public void close() {
    arena.close();
  }
}
