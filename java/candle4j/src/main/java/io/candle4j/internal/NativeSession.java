package io.candle4j.internal;

import static io.candle4j.bindings.candle4j_h.*;

import io.candle4j.FinishReason;
import io.candle4j.Generation;
import io.candle4j.Request;
import io.candle4j.Score;
import io.candle4j.TokenListener;
import io.candle4j.bindings.candle4j_h;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** A session behind the border. One call at a time; cancelling is for any thread. */
public final class NativeSession implements AutoCloseable {
  /** UINT64_MAX: all calls from now on. */
  private static final long ALL_CALLS = -1;

  private final NativeHandle handle;
  private final SessionCalls calls = new SessionCalls();
  private final Set<Runnable> closers = ConcurrentHashMap.newKeySet();

  NativeSession(MemorySegment pointer) {
    TokenUpcall.retainStub();
    handle =
        new NativeHandle("session", pointer, NativeSession::free) {
          @Override
          void stopCalls(MemorySegment session) {
            calls.close();
            cancel(session, ALL_CALLS);
            closers.forEach(Runnable::run);
          }
        };
  }

  private static void free(MemorySegment pointer) {
    try {
      c4j_session_free(pointer);
    } finally {
      TokenUpcall.releaseStub();
    }
  }

  /** What a generation is for. */
  public enum Mode {
    /** An answer, as long as the context allows. */
    ANSWER,
    /** Only the keys and values of the prompt. */
    PREPARE,
    /** An answer that the context must have room for. */
    TURN
  }

  /**
   * Takes a number for a call, by which it can be cancelled before it begins.
   *
   * @return the number
   */
  public long nextCall() {
    StackGuard.check();
    return calls.next();
  }

  /**
   * Generates.
   *
   * @param number the call's number
   * @param request what from, and how
   * @param mode what for
   * @param listener told of each token, or null
   * @return the outcome
   * @throws CancellationException when this thread is interrupted
   */
  public Generation generate(
      long number, Request request, Mode mode, @Nullable TokenListener listener) {
    StackGuard.check();
    Generation generation =
        blocking(
            number,
            () ->
                exclusively(
                    number,
                    request.timeout().orElse(null),
                    (session, left) -> {
                      byte[] json = Json.write(Requests.generate(number, request, left, mode));
                      return generate(session, json, listener);
                    },
                    Results::nothing));
    if (generation.finishReason() == FinishReason.CANCELLED
        && Thread.currentThread().isInterrupted()) {
      throw BlockingCalls.interrupted();
    }
    return generation;
  }

  private Generation generate(
      MemorySegment session, byte[] request, @Nullable TokenListener listener) {
    Events.OfGeneration events = new Events.OfGeneration();
    try (Call call = new Call();
        TokenUpcall upcall = TokenUpcall.open(listener, events)) {
      int status =
          c4j_session_generate(
              session,
              call.bytes(request),
              request.length,
              TokenUpcall.stub(),
              upcall.userData(),
              call.buffer(),
              call.error());
      upcall.rethrow();
      call.check(status);
      Results.Generated generated = Json.read(call.text(), Results.Generated.class);
      Generation generation = generated.toGeneration();
      events.end(generation, Math.round(generated.waitMs() * 1e6));
      return generation;
    }
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
    return blocking(
        number,
        () -> {
          byte[] request = Json.write(new Requests.Score(number, tokens, top));
          return exclusively(number, session -> score(session, request).toScore(tokens));
        });
  }

  private static Results.Scored score(MemorySegment session, byte[] request) {
    try (Call call = new Call()) {
      call.check(
          c4j_session_score(
              session, call.bytes(request), request.length, call.buffer(), call.error()));
      return Json.read(call.text(), Results.Scored.class);
    }
  }

  /**
   * Starts a session that goes on from here.
   *
   * @return the session
   */
  public NativeSession fork() {
    StackGuard.check();
    long number = nextCall();
    return blocking(number, () -> exclusively(number, NativeSession::fork));
  }

  private static NativeSession fork(MemorySegment session) {
    try (Call call = new Call()) {
      MemorySegment place = call.handlePlace();
      call.check(c4j_session_fork(session, place, call.error()));
      return Call.own(place, NativeSession::new, candle4j_h::c4j_session_free);
    }
  }

  /** Empties the KV cache. */
  public void clear() {
    StackGuard.check();
    long number = nextCall();
    blocking(
        number,
        () ->
            exclusively(
                number,
                session -> {
                  try (Call call = new Call()) {
                    call.check(c4j_session_clear(session, call.error()));
                    return null;
                  }
                }));
  }

  /**
   * Whether close was called.
   *
   * @return whether it was
   */
  public boolean isClosed() {
    return handle.isClosed();
  }

  /**
   * Runs something when close is called, on the thread that calls it; at once after close.
   *
   * @param closer what to run; it must not block
   */
  public void onClose(Runnable closer) {
    closers.add(closer);
    if (handle.isClosed()) {
      closer.run();
    }
  }

  /**
   * Forgets what {@link #onClose} was told.
   *
   * @param closer what not to run
   */
  public void offClose(Runnable closer) {
    closers.remove(closer);
  }

  /** Cancels the call under way, if there is one. */
  public void cancel() {
    StackGuard.check();
    long number = calls.running();
    if (number != 0) {
      cancel(number);
    }
  }

  /**
   * Cancels the call of this number, begun or not. Does nothing when it is over, and after close,
   * which has cancelled it.
   *
   * @param number the number
   */
  public void cancel(long number) {
    StackGuard.check();
    if (!calls.cancel(number)) {
      return;
    }
    try {
      handle.call(session -> {
        cancel(session, number);
        return null;
      });
    } catch (IllegalStateException closed) {
      // Cancelled already.
    }
  }

  private static void cancel(MemorySegment session, long number) {
    // Fails for no handle that is valid, so nobody looks at an error.
    c4j_session_cancel(session, number, MemorySegment.NULL);
  }

  private <T extends @Nullable Object> T blocking(long number, Supplier<T> call) {
    try {
      return BlockingCalls.run(call, () -> cancel(number));
    } finally {
      calls.forget(number);
    }
  }

  private <T extends @Nullable Object> T exclusively(
      long number, Function<MemorySegment, T> downcall) {
    return exclusively(
        number,
        null,
        (session, left) -> downcall.apply(session),
        reason -> {
          throw new CancellationException("the call was cancelled before it began");
        });
  }

  private <T extends @Nullable Object> T exclusively(
      long number,
      @Nullable Duration timeout,
      TimedDowncall<T> downcall,
      Function<FinishReason, T> notBegun) {
    long start = System.nanoTime();
    return handle.call(session -> {
      switch (calls.begin(number, timeout)) {
        case CANCELLED:
          return notBegun.apply(FinishReason.CANCELLED);
        case TIMED_OUT:
          return notBegun.apply(FinishReason.TIMEOUT);
        case YES:
          break;
      }
      try {
        Duration left = timeout == null ? null : timeout.minusNanos(System.nanoTime() - start);
        return left != null && !left.isPositive()
            ? notBegun.apply(FinishReason.TIMEOUT)
            : downcall.apply(session, left);
      } finally {
        calls.end();
      }
    });
  }

  /** A downcall, and what is left of its time behind calls that it waited for. */
  private interface TimedDowncall<T extends @Nullable Object> {
    T apply(MemorySegment session, @Nullable Duration left);
  }

  @Override
  public void close() {
    handle.close();
  }
}
