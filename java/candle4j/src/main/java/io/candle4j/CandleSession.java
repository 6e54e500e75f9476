package io.candle4j;

import io.candle4j.internal.NativeSession;
import io.candle4j.internal.StackGuard;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * A session: a KV cache over a model's weights, and a conversation.
 *
 * <p>Each {@code generate} stands for itself; {@link #chat(String)} goes on with what was said
 * before. What a prompt has in common with the one before is not computed again.
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
  private final List<ChatMessage> history = new ArrayList<>();

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
    return session.generate(session.nextCall(), request, false, null);
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
    return session.generate(session.nextCall(), request, false, listener);
  }

  /**
   * Answers in the conversation of this session: adds a user message and the model's answer to
   * {@link #history()}.
   *
   * @param message what the user says
   * @return the answer
   */
  public Generation chat(String message) {
    return chat(message, GenerateOptions.defaults(), null);
  }

  /**
   * Answers in the conversation of this session.
   *
   * @param message what the user says
   * @param options how
   * @param listener told of each token on this thread, or null
   * @return the answer; it becomes part of the history, unless it was cancelled, timed out or
   *     failed, in which case the history stays as it was
   */
  public Generation chat(
      String message, GenerateOptions options, @Nullable TokenListener listener) {
    List<ChatMessage> messages = history();
    messages.add(ChatMessage.user(message));
    return chat(messages, options, listener);
  }

  /**
   * Answers a conversation, which becomes that of this session.
   *
   * @param messages the messages, oldest first
   * @return the answer
   */
  public Generation chat(List<ChatMessage> messages) {
    return chat(messages, GenerateOptions.defaults(), null);
  }

  /**
   * Answers a conversation, which becomes that of this session.
   *
   * @param messages the messages, oldest first
   * @param options how
   * @param listener told of each token on this thread, or null
   * @return the answer; with it, the messages become the history, unless it was cancelled, timed
   *     out or failed
   * @throws ModelException.ChatTemplate when the model has no chat template, or it cannot render
   *     these
   */
  public Generation chat(
      List<ChatMessage> messages, GenerateOptions options, @Nullable TokenListener listener) {
    return chat(messages, Map.of(), options, listener);
  }

  /**
   * Answers a conversation, which becomes that of this session.
   *
   * @param messages the messages, oldest first
   * @param variables further variables that the model's chat template knows, such as {@code tools}
   * @param options how
   * @param listener told of each token on this thread, or null
   * @return the answer
   */
  public Generation chat(
      List<ChatMessage> messages,
      Map<String, Object> variables,
      GenerateOptions options,
      @Nullable TokenListener listener) {
    List<ChatMessage> conversation = new ArrayList<>(messages);
    Request request =
        Request.builder().messages(conversation).variables(variables).options(options).build();
    Generation answer = session.generate(session.nextCall(), request, false, listener);
    if (answer.finishReason() != FinishReason.CANCELLED
        && answer.finishReason() != FinishReason.TIMEOUT) {
      conversation.add(ChatMessage.assistant(answer.text()));
      synchronized (history) {
        history.clear();
        history.addAll(conversation);
      }
    }
    return answer;
  }

  /**
   * The conversation so far.
   *
   * @return a copy
   */
  public List<ChatMessage> history() {
    synchronized (history) {
      return new ArrayList<>(history);
    }
  }

  /**
   * Starts anew: empties the conversation and the KV cache.
   *
   * @throws SessionBusyException when a call is under way
   */
  public void reset() {
    session.clear();
    synchronized (history) {
      history.clear();
    }
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
    NativeSession session = this.session;
    long number = session.nextCall();
    TokenChannel channel =
        new TokenChannel(
            listener -> session.generate(number, request, false, listener),
            () -> session.cancel(number));
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

  private CompletableFuture<Generation> start(Request request, @Nullable TokenListener listener) {
    StackGuard.check();
    Objects.requireNonNull(request, "request");
    long number = session.nextCall();
    return CallFuture.start(
        () -> session.generate(number, request, false, listener), () -> session.cancel(number));
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
    session.generate(session.nextCall(), request, true, null);
  }

  /**
   * Starts another session that goes on from here: the conversation and the KV cache are copied,
   * and nothing in it is computed again. (Of the {@link Engine#CANDLE} engine, whose cache cannot
   * be copied, the fork computes it when it is used first.)
   *
   * @return the session, to be closed on its own
   * @throws SessionBusyException when a call is under way
   */
  public CandleSession fork() {
    CandleSession fork = new CandleSession(session.fork(), null);
    fork.history.addAll(history());
    return fork;
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
