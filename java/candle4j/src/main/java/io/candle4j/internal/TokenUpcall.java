package io.candle4j.internal;

import io.candle4j.Token;
import io.candle4j.TokenListener;
import io.candle4j.TokenLogprob;
import io.candle4j.ToolCall;
import io.candle4j.bindings.c4j_token;
import io.candle4j.bindings.c4j_token_fn;
import io.candle4j.bindings.c4j_token_logprob;
import io.candle4j.bindings.candle4j_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandles;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Where native code reports the tokens of one call to. There is one stub for all calls: to make one
 * takes a millisecond. The number of a call's slot tells it which call it is for.
 *
 * <p>Nothing may leave an upcall as an exception, which would end the JVM. What a listener throws
 * is kept, generation is told to stop, and {@link #rethrow} throws it to the caller of the
 * downcall.
 */
final class TokenUpcall implements AutoCloseable {
  /** Replaced when it grows, so that it can be read without a lock. */
  private static volatile @Nullable TokenUpcall[] slots = new TokenUpcall[16];

  private static volatile MemorySegment stub = MemorySegment.NULL;
  private static @Nullable Arena arena;
  private static int users;

  private final int slot;
  private final @Nullable TokenListener listener;
  private final Events.@Nullable OfGeneration events;
  private @Nullable Throwable thrown;

  private TokenUpcall(
      int slot, @Nullable TokenListener listener, Events.@Nullable OfGeneration events) {
    this.slot = slot;
    this.events = events;
    this.listener = listener;
  }

  /** Takes a slot for a call. */
  static synchronized TokenUpcall open(
      @Nullable TokenListener listener, Events.OfGeneration events) {
    int free = 0;
    while (free < slots.length && slots[free] != null) {
      free++;
    }
    if (free == slots.length) {
      slots = Arrays.copyOf(slots, 2 * free);
    }
    TokenUpcall upcall = new TokenUpcall(free, listener, events);
    slots[free] = upcall;
    return upcall;
  }

  /** Gives the slot back. */
  @Override
  public void close() {
    free(slot);
  }

  private static synchronized void free(int slot) {
    slots[slot] = null;
  }

  /**
   * Makes sure that the stub is there until {@link #releaseStub}. It holds the class loader of this
   * class, so it does not live for ever.
   */
  @SuppressWarnings("MustBeClosedChecker") // closed by releaseStub
  static synchronized void retainStub() {
    if (users == 0) {
      Arena made = Arena.ofShared();
      try {
        stub =
            Upcalls.stub(
                c4j_token_fn.descriptor(),
                Upcalls.method(MethodHandles.lookup(), "apply", c4j_token_fn.descriptor()),
                new TokenUpcall(-1, null, null),
                made);
      } catch (Throwable t) {
        made.close();
        throw t;
      }
      arena = made;
    }
    users++;
  }

  /** Undoes one {@link #retainStub}. */
  static synchronized void releaseStub() {
    users--;
    if (users == 0 && arena != null) {
      stub = MemorySegment.NULL;
      arena.close();
      arena = null;
    }
  }

  /** The function pointer, for all calls; while it is retained. */
  static MemorySegment stub() {
    return stub;
  }

  /** What native code hands back to the stub. */
  MemorySegment userData() {
    return MemorySegment.ofAddress(slot);
  }

  /**
   * Called by native code, on the object that the stub was made with. Allocates nothing outside of
   * the {@code try} of {@link #token}.
   */
  @SuppressWarnings("unused")
  private int apply(long userData, long token) {
    TokenUpcall upcall = slots[(int) userData];
    return upcall == null ? candle4j_h.C4J_STOP() : upcall.token(token);
  }

  private int token(long address) {
    try {
      if (Thread.currentThread().isInterrupted()) {
        return candle4j_h.C4J_STOP();
      }
      if (events != null) {
        events.onToken();
      }
      if (listener != null) {
        listener.onToken(read(address));
        BlockingCalls.watchAgain();
      }
      return candle4j_h.C4J_CONTINUE();
    } catch (Throwable t) {
      thrown = t;
      return candle4j_h.C4J_FAILED();
    }
  }

  private static Token read(long address) {
    MemorySegment token = Memory.at(MemorySegment.ofAddress(address), c4j_token.sizeof());
    int id = c4j_token.id(token);
    float logprob = c4j_token.logprob(token);
    Optional<TokenLogprob> logprobs = Optional.empty();
    if (!Float.isNaN(logprob)) {
      int count = (int) c4j_token.top_len(token);
      long size = c4j_token_logprob.sizeof();
      MemorySegment top = Memory.at(c4j_token.top(token), count * size);
      List<TokenLogprob> best = new ArrayList<>(count);
      for (int i = 0; i < count; i++) {
        MemorySegment one = c4j_token_logprob.asSlice(top, i);
        best.add(
            new TokenLogprob(c4j_token_logprob.id(one), c4j_token_logprob.logprob(one), List.of()));
      }
      logprobs = Optional.of(new TokenLogprob(id, logprob, best));
    }
    return new Token(
        id,
        kind(c4j_token.kind(token)),
        Memory.text(c4j_token.text(token), c4j_token.text_len(token)),
        Memory.text(c4j_token.reasoning(token), c4j_token.reasoning_len(token)),
        c4j_token.tool_calls_len(token) == 0
            ? List.of()
            : Json.list(
                Memory.text(c4j_token.tool_calls(token), c4j_token.tool_calls_len(token)),
                ToolCall.class),
        logprobs);
  }

  private static Token.Kind kind(int kind) {
    if (kind == candle4j_h.C4J_REASONING()) {
      return Token.Kind.REASONING;
    }
    return kind == candle4j_h.C4J_TOOL_CALL() ? Token.Kind.TOOL_CALL : Token.Kind.TEXT;
  }

  /** Throws what the listener threw during the call, if it did. */
  void rethrow() {
    Throwable t = thrown;
    thrown = null;
    if (t != null) {
      Throwables.sneak(t);
    }
  }
}
