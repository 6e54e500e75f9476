package io.candle4j.internal;

import static io.candle4j.bindings.candle4j_h.*;

import io.candle4j.ChatMessage;
import io.candle4j.GenerateOptions;
import io.candle4j.Generation;
import io.candle4j.Score;
import io.candle4j.SessionBusyException;
import io.candle4j.TokenListener;
import io.candle4j.bindings.candle4j_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/** A session behind the border. One call at a time; cancelling is for any thread. */
public final class NativeSession implements AutoCloseable {
  private final NativeHandle handle;
  private final TokenUpcall upcall;
  private final AtomicLong numbers = new AtomicLong();
  private final AtomicReference<@Nullable Long> running = new AtomicReference<>();

  // The arena is closed by the handle.
  @SuppressWarnings("MustBeClosedChecker")
  NativeSession(MemorySegment pointer) {
    Arena arena = Arena.ofShared();
    upcall = new TokenUpcall(arena);
    handle =
        new NativeHandle("session", pointer, arena, candle4j_h::c4j_session_free) {
          @Override
          void stopCalls(MemorySegment session) {
            cancel(session, Long.MAX_VALUE);
          }
        };
  }

  /** What to generate from; made by the static methods. */
  public static final class Prompt {
    private final Requests.Prompt prompt;

    private Prompt(Requests.Prompt prompt) {
      this.prompt = prompt;
    }

    /**
     * A text.
     *
     * @param text the text
     * @param raw whether it is taken as it stands
     * @return the prompt
     */
    public static Prompt text(String text, boolean raw) {
      return new Prompt(Requests.text(text, raw));
    }

    /**
     * Token ids.
     *
     * @param tokens the ids
     * @return the prompt
     */
    public static Prompt tokens(int[] tokens) {
      return new Prompt(Requests.tokens(tokens.clone()));
    }

    /**
     * A conversation.
     *
     * @param messages the messages
     * @param variables further variables of the template
     * @return the prompt
     */
    public static Prompt chat(List<ChatMessage> messages, Map<String, Object> variables) {
      return new Prompt(Requests.chat(messages, variables));
    }
  }

  /**
   * Takes a number for a call, by which it can be cancelled before it begins.
   *
   * @return the number
   */
  public long nextCall() {
    return numbers.incrementAndGet();
  }

  /**
   * Generates.
   *
   * @param number the call's number
   * @param prompt what from
   * @param options how
   * @param prepare prefill only
   * @param listener told of each token, or null
   * @return the outcome
   */
  public Generation generate(
      long number,
      Prompt prompt,
      GenerateOptions options,
      boolean prepare,
      @Nullable TokenListener listener) {
    StackGuard.check();
    byte[] request =
        Json.write(
            new Requests.Generate(number, prompt.prompt, Requests.options(options), prepare));
    return exclusively(
        number,
        session -> {
          upcall.arm(listener);
          try (Call call = new Call()) {
            int status =
                c4j_session_generate(
                    session,
                    call.bytes(request),
                    request.length,
                    upcall.stub(),
                    MemorySegment.NULL,
                    call.buffer(),
                    call.error());
            upcall.rethrow();
            call.check(status);
            return Json.read(call.text(), Results.Generated.class).toGeneration();
          } finally {
            upcall.arm(null);
          }
        });
  }

  /**
   * Scores tokens.
   *
   * @param tokens the tokens
   * @param top how many of the most probable to list behind the last
   * @return the score
   */
  public Score score(int[] tokens, int top) {
    StackGuard.check();
    long number = nextCall();
    byte[] request = Json.write(new Requests.Score(number, tokens, top));
    return exclusively(
        number,
        session -> {
          try (Call call = new Call()) {
            call.check(
                c4j_session_score(
                    session, call.bytes(request), request.length, call.buffer(), call.error()));
            return Json.read(call.text(), Score.class);
          }
        });
  }

  /**
   * Starts a session that goes on from here.
   *
   * @return the session
   */
  public NativeSession fork() {
    StackGuard.check();
    return exclusively(
        nextCall(),
        session -> {
          try (Call call = new Call()) {
            MemorySegment place = call.handlePlace();
            call.check(c4j_session_fork(session, place, call.error()));
            return Call.own(place, NativeSession::new, candle4j_h::c4j_session_free);
          }
        });
  }

  /** Empties the KV cache. */
  public void clear() {
    StackGuard.check();
    exclusively(
        nextCall(),
        session -> {
          try (Call call = new Call()) {
            call.check(c4j_session_clear(session, call.error()));
            return null;
          }
        });
  }

  /**
   * Whether close was called.
   *
   * @return whether it was
   */
  public boolean isClosed() {
    return handle.isClosed();
  }

  /** Cancels the call under way, if there is one. */
  public void cancel() {
    StackGuard.check();
    Long number = running.get();
    if (number != null) {
      cancel(number);
    }
  }

  /**
   * Cancels the call of this number and those before, begun or not.
   *
   * @param number the number
   */
  public void cancel(long number) {
    StackGuard.check();
    handle.call(session -> {
      cancel(session, number);
      return null;
    });
  }

  private static void cancel(MemorySegment session, long number) {
    // Fails for no handle that is valid, so nobody looks at an error.
    c4j_session_cancel(session, number, MemorySegment.NULL);
  }

  private <T extends @Nullable Object> T exclusively(
      long number, java.util.function.Function<MemorySegment, T> downcall) {
    return handle.call(session -> {
      if (!running.compareAndSet(null, number)) {
        throw new SessionBusyException("another call on this session is under way", Map.of());
      }
      try {
        return downcall.apply(session);
      } finally {
        running.set(null);
      }
    });
  }

  @Override
  public void close() {
    handle.close();
  }
}
