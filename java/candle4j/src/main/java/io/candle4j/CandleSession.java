package io.candle4j;

import io.candle4j.internal.NativeSession;
import io.candle4j.internal.NativeSession.Mode;
import io.candle4j.internal.StackGuard;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A session: a KV cache over a model's weights.
 *
 * <p>Each {@code generate} stands for itself; a {@link CandleChat} goes on with what was said
 * before. What a prompt has in common with those before is not computed again.
 *
 * <p>A session does one thing at a time: a second call, also one from a listener, gets {@link
 * SessionBusyException}; behind a call that was cancelled, it waits for that to end. {@link
 * #cancel()} and {@link #close()} are for any thread.
 *
 * <p>Interrupting a thread ends its call by {@link java.util.concurrent.CancellationException}, and
 * the interrupt status stays. A virtual thread parks while a platform thread of this library works
 * for it, and its listeners are called on that one.
 */
public final class CandleSession implements AutoCloseable {
  private final NativeSession session;
  private final @Nullable CandleModel owned;

  CandleSession(NativeSession session, @Nullable CandleModel owned) {
    this.session = session;
    this.owned = owned;
  }

  /**
   * Opens a session on the built-in model, {@link CandleModel#BUILT_IN}.
   *
   * @return a session that closes its model with itself
   */
  public static CandleSession open() {
    return open(CandleModel.BUILT_IN);
  }

  /**
   * Loads a model and opens a session on it.
   *
   * @param source an alias, a Hub id or a path, as for {@link CandleModel#load}
   * @return a session that closes its model with itself
   */
  public static CandleSession open(String source) {
    return owning(CandleModel.load(source));
  }

  private static CandleSession owning(CandleModel model) {
    try {
      return model.newSession(model);
    } catch (Throwable t) {
      model.close();
      throw t;
    }
  }

  /**
   * Answers a text with the model's own sampling. Short for {@link #generate(Request)}.
   *
   * @param text a text; one user message when the model has a chat template
   * @return the answer
   */
  public Generation generate(String text) {
    return generate(Request.of(text));
  }

  /**
   * Answers a text. Short for {@link #generate(Request)}.
   *
   * @param text a text; one user message when the model has a chat template
   * @param options how
   * @return the answer
   */
  public Generation generate(String text, GenerateOptions options) {
    return generate(Request.of(text, options));
  }

  /**
   * Answers a request.
   *
   * @param request the request
   * @return the answer
   * @throws IllegalArgumentException for token ids outside of the vocabulary and impossible options
   * @throws ContextFullException when the prompt does not fit into the context
   * @throws ModelException.ChatTemplate when the model has no chat template for messages, or it
   *     cannot render these
   * @throws ModelException.Numeric when the model computes NaN or infinity
   * @throws SessionBusyException when another call is under way
   * @throws QueueFullException when the model has as many requests as it takes
   * @throws java.util.concurrent.CancellationException when this thread is interrupted
   * @throws IllegalStateException after close
   */
  public Generation generate(Request request) {
    return session.generate(session.nextCall(), request, Mode.ANSWER, null);
  }

  /**
   * Answers a request, calling a listener with each token.
   *
   * @param request the request
   * @param listener called with each token on this thread; what it throws stops the generation and
   *     comes out of this call
   * @return the answer
   * @see #generate(Request)
   */
  public Generation generate(Request request, TokenListener listener) {
    Objects.requireNonNull(listener, "listener");
    return session.generate(session.nextCall(), request, Mode.ANSWER, listener);
  }

  /**
   * Answers a text with a value. Short for {@link #generate(Request, Class)}.
   *
   * @param <T> the type
   * @param text a text; one user message when the model has a chat template
   * @param type the type
   * @return the value
   */
  public <T> T generate(String text, Class<T> type) {
    return generate(Request.of(text), type);
  }

  /**
   * Answers a request with a value: the answer follows the JSON schema of a type, and becomes a
   * value of it. The model is told the schema behind the last thing that the user says; behind raw
   * texts and token ids nothing is added.
   *
   * <p>Types are records and classes that Jackson reads, and in them strings, numbers, booleans,
   * enums, lists, sets, arrays, maps by strings or enums, {@code Optional}, sealed interfaces (each
   * kind has a property {@code type} with its simple name), types that contain themselves, {@code
   * java.time}, UUID and web addresses as URI. Jackson's annotations count; {@link Description}
   * tells the model what something means. Types of a named module must be open to {@code
   * tools.jackson.databind}.
   *
   * @param <T> the type
   * @param request the request, without a response format
   * @param type the type
   * @return the value
   * @throws AnswerException.Incomplete when the answer ended before it was complete
   * @throws AnswerException.Invalid when the type refuses the value, such as a record's constructor
   * @throws IllegalArgumentException for a type that no schema describes; the message names the
   *     place
   * @see #generate(Request)
   */
  public <T> T generate(Request request, Class<T> type) {
    return generate(request, new TypedAnswer<T>(type));
  }

  /**
   * Answers a request with a value of a type with parameters.
   *
   * @param <T> the type
   * @param request the request, without a response format
   * @param type the type, as {@code new TypeRef<List<Person>>() {}}
   * @return the value
   * @see #generate(Request, Class)
   */
  public <T> T generate(Request request, TypeRef<T> type) {
    return generate(request, new TypedAnswer<T>(type.type()));
  }

  private <T> T generate(Request request, TypedAnswer<T> typed) {
    return typed.value(generate(typed.request(request)));
  }

  /**
   * Empties the KV cache. Conversations stay as they are, and are computed again.
   *
   * @throws SessionBusyException when a call is under way
   */
  public void reset() {
    session.clear();
  }

  /**
   * Answers a text token by token. Short for {@link #stream(Request)}.
   *
   * @param text a text; one user message when the model has a chat template
   * @return the tokens; to be closed, which stops the generation
   */
  public TokenStream stream(String text) {
    return stream(Request.of(text));
  }

  /**
   * Answers a request token by token. The generation runs on a thread of its own and waits when the
   * tokens are not taken.
   *
   * @param request the request
   * @return the tokens; to be closed, which stops the generation. What goes wrong, as for {@link
   *     #generate(Request)}, comes out of their methods
   */
  public TokenStream stream(Request request) {
    StackGuard.check();
    Objects.requireNonNull(request, "request");
    // Not this session itself, which may become unreachable while the stream is read.
    NativeSession session = this.session;
    long number = session.nextCall();
    return stream(
        listener -> session.generate(number, request, Mode.ANSWER, listener),
        () -> session.cancel(number));
  }

  /** The tokens that a generation gives to its listener. */
  TokenStream stream(Function<TokenListener, Generation> generation, Runnable stop) {
    NativeSession session = this.session;
    TokenChannel channel = new TokenChannel(generation, stop);
    Runnable closer = channel::closeSession;
    session.onClose(closer);
    channel.onEnd(() -> session.offClose(closer));
    return new TokenStream(channel);
  }

  /**
   * Answers a text on a platform thread of its own. Short for {@link #submit(Request)}.
   *
   * @param text a text; one user message when the model has a chat template
   * @return the answer to come
   */
  public CompletableFuture<Generation> submit(String text) {
    return submit(Request.of(text));
  }

  /**
   * Answers a request on a platform thread of its own.
   *
   * @param request the request
   * @return the answer to come. Completing it in any other way, such as {@code cancel} or {@code
   *     orTimeout}, or a stage that depends on it, stops the generation; a call on this session
   *     that follows waits until it has stopped
   */
  public CompletableFuture<Generation> submit(Request request) {
    return start(request, null);
  }

  /**
   * Answers a request on a platform thread of its own, calling a listener with each token.
   *
   * @param request the request
   * @param listener called with each token on that thread
   * @return the answer to come, as for {@link #submit(Request)}
   */
  public CompletableFuture<Generation> submit(Request request, TokenListener listener) {
    return start(request, Objects.requireNonNull(listener, "listener"));
  }

  /**
   * Answers a request with a value, on a platform thread of its own.
   *
   * @param <T> the type
   * @param request the request, without a response format
   * @param type the type
   * @return the value to come, as for {@link #submit(Request)}
   * @see #generate(Request, Class)
   */
  public <T> CompletableFuture<T> submit(Request request, Class<T> type) {
    return submit(request, new TypedAnswer<T>(type));
  }

  /**
   * Answers a request with a value of a type with parameters, on a platform thread of its own.
   *
   * @param <T> the type
   * @param request the request, without a response format
   * @param type the type, as {@code new TypeRef<List<Person>>() {}}
   * @return the value to come, as for {@link #submit(Request)}
   * @see #generate(Request, Class)
   */
  public <T> CompletableFuture<T> submit(Request request, TypeRef<T> type) {
    return submit(request, new TypedAnswer<T>(type.type()));
  }

  private <T> CompletableFuture<T> submit(Request request, TypedAnswer<T> typed) {
    return start(typed.request(request), null).thenApply(typed::value);
  }

  private CompletableFuture<Generation> start(Request request, @Nullable TokenListener listener) {
    StackGuard.check();
    Objects.requireNonNull(request, "request");
    long number = session.nextCall();
    return CallFuture.start(
        () -> session.generate(number, request, Mode.ANSWER, listener),
        () -> session.cancel(number));
  }

  /**
   * Computes log-probabilities of given tokens.
   *
   * @param tokens at least one
   * @param top how many of the most probable tokens to list behind the last
   * @return the score
   */
  public Score score(TokenIds tokens, int top) {
    if (tokens.isEmpty()) {
      throw new IllegalArgumentException("tokens: expected at least one");
    }
    if (top < 0) {
      throw new IllegalArgumentException("top: expected at least 0, got " + top);
    }
    return session.score(tokens.toIntArray(), top);
  }

  /**
   * Takes a prompt into the KV cache, so that the next generation whose prompt begins like it
   * starts at once. Conversations stay as they are.
   *
   * @param request of which the prompt, its variables and the timeout count
   */
  public void prepare(Request request) {
    session.generate(session.nextCall(), request, Mode.PREPARE, null);
  }

  /** Takes a number for a call of a chat. */
  long nextCall() {
    return session.nextCall();
  }

  /** A turn of a chat, which fails unless the context has room for an answer. */
  Generation generateTurn(long call, Request request, @Nullable TokenListener listener) {
    return session.generate(call, request, Mode.TURN, listener);
  }

  /** Cancels a call of a chat, begun or not. */
  void cancel(long call) {
    session.cancel(call);
  }

  /**
   * Starts another session that goes on from here: the KV cache is copied, and nothing in it is
   * computed again. (Of the {@link Engine#CANDLE} engine, whose cache cannot be copied, the fork
   * computes it when it is used first.)
   *
   * @return the session, to be closed on its own
   * @throws SessionBusyException when a call is under way
   */
  public CandleSession fork() {
    return new CandleSession(session.fork(), null);
  }

  /**
   * Stops the call under way, if there is one: it returns soon, with what it has and {@link
   * FinishReason#CANCELLED}. Any thread may call it, a listener too.
   */
  public void cancel() {
    session.cancel();
  }

  /**
   * Stops what is under way (calls, streams and futures), waits for it for 150 ms at most, and
   * frees the KV cache. What a listener holds up for longer is freed when that returns. Does
   * nothing the second time.
   *
   * @throws IllegalStateException from inside a listener of a call of this session
   */
  @Override
  public void close() {
    try {
      session.close();
    } finally {
      if (owned != null) {
        owned.close();
      }
    }
  }
}
