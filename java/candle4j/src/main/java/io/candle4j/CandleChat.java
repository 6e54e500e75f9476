package io.candle4j;

import io.candle4j.internal.Messages;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A conversation over a {@link CandleSession}: a system message, what was said, and what comes
 * next.
 *
 * {@snippet :
 * CandleChat chat = CandleChat.builder(session).system("Answer in one sentence.").build();
 * System.out.println(chat.say("What is rain?"));
 * System.out.println(chat.say("And snow?"));
 * }
 *
 * <p>When the model calls {@link Builder#tools tools}, the chat runs them on the thread of the
 * turn, tells it the results and goes on, until it answers. What a tool throws is told to the model
 * as its result. Calls of which one has no code behind it are handed out instead: the answer of the
 * turn is the one that calls, and {@link #say(List)} takes the results.
 *
 * <p>A turn that fails, is cancelled or times out leaves the conversation as it was. The session's
 * KV cache holds what was computed, so a turn computes only what is new; other calls on the session
 * in between don't change the conversation.
 *
 * <p>Any thread may use a chat. As of its session, one turn runs at a time.
 */
public final class CandleChat implements AutoCloseable {
  private final CandleSession session;
  private final boolean ownsSession;
  private final GenerateOptions options;
  private final Map<String, Object> variables;
  private final ContextPolicy policy;
  private final @Nullable ResponseFormat responseFormat;
  private final List<Tool> tools;
  private final ToolChoice toolChoice;
  private final int maxToolRounds;
  private final Object lock = new Object();

  /** Immutable, and replaced as a whole. */
  private List<ChatMessage> history;

  /** The turn under way, and others that are about to find the session busy. */
  private final Set<Turn> turns = ConcurrentHashMap.newKeySet();

  private CandleChat(Builder builder, CandleSession session, boolean ownsSession) {
    this.session = session;
    this.ownsSession = ownsSession;
    this.options = builder.options;
    this.variables = builder.variables;
    this.policy = builder.policy;
    this.responseFormat = builder.responseFormat;
    this.tools = builder.tools;
    this.toolChoice = builder.toolChoice;
    this.maxToolRounds = builder.maxToolRounds;
    this.history = builder.history;
  }

  private CandleChat(CandleChat other, CandleSession session) {
    this.session = session;
    this.ownsSession = true;
    this.options = other.options;
    this.variables = other.variables;
    this.policy = other.policy;
    this.responseFormat = other.responseFormat;
    this.tools = other.tools;
    this.toolChoice = other.toolChoice;
    this.maxToolRounds = other.maxToolRounds;
    this.history = other.history();
  }

  /**
   * Starts from default settings.
   *
   * @param session where the conversation is computed; the chat does not close it
   * @return a builder
   */
  public static Builder builder(CandleSession session) {
    return new Builder(session);
  }

  /**
   * Says something and waits for the answer.
   *
   * @param text what the user says
   * @return the answer
   * @throws ContextFullException when the conversation does not fit and the policy gives up
   * @throws ToolLimitException when the model does not stop calling tools
   * @throws ModelException.ChatTemplate when the model has no chat template, or it cannot render
   *     the conversation
   * @see CandleSession#generate(Request)
   */
  public Generation say(String text) {
    return answer(List.of(ChatMessage.user(text)), null);
  }

  /**
   * Says something, calling a listener with each token of the answer.
   *
   * @param text what the user says
   * @param listener called with each token on this thread
   * @return the answer
   * @see #say(String)
   */
  public Generation say(String text, TokenListener listener) {
    return answer(List.of(ChatMessage.user(text)), Objects.requireNonNull(listener, "listener"));
  }

  /**
   * Says something and waits for an answer that is a value of a type. The history holds its JSON.
   *
   * @param <T> the type
   * @param text what the user says
   * @param type the type
   * @return the value
   * @throws AnswerException when there is none; the turn does not count then
   * @see CandleSession#generate(Request, Class)
   */
  public <T> T say(String text, Class<T> type) {
    return say(text, new TypedAnswer<T>(type));
  }

  /**
   * Says something and waits for an answer that is a value of a type with parameters.
   *
   * @param <T> the type
   * @param text what the user says
   * @param type the type, as {@code new TypeRef<List<Person>>() {}}
   * @return the value
   * @throws AnswerException when there is none; the turn does not count then
   * @see CandleSession#generate(Request, Class)
   */
  public <T> T say(String text, TypeRef<T> type) {
    return say(text, new TypedAnswer<T>(type.type()));
  }

  private <T> T say(String text, TypedAnswer<T> typed) {
    AtomicReference<@Nullable T> value = new AtomicReference<>();
    var unused =
        new Turn(
                List.of(ChatMessage.user(text)),
                typed::request,
                answer -> value.set(typed.value(answer)))
            .run(null);
    return Objects.requireNonNull(value.get());
  }

  /**
   * Adds messages, such as the results of tools, and waits for the answer.
   *
   * @param messages the messages, oldest first
   * @return the answer
   * @see #say(String)
   */
  public Generation say(List<ChatMessage> messages) {
    return answer(List.copyOf(messages), null);
  }

  /**
   * Says something and gives the answer token by token.
   *
   * @param text what the user says
   * @return the tokens; to be closed. The turn counts once the generation has ended
   * @see CandleSession#stream(Request)
   */
  public TokenStream stream(String text) {
    Turn turn = new Turn(List.of(ChatMessage.user(text)));
    return session.stream(turn::run, turn::stop);
  }

  /**
   * Says something on a platform thread of its own.
   *
   * @param text what the user says
   * @return the answer to come, as for {@link CandleSession#submit(Request)}
   */
  public CompletableFuture<Generation> submit(String text) {
    Turn turn = new Turn(List.of(ChatMessage.user(text)));
    return CallFuture.start(() -> turn.run(null), turn::stop);
  }

  private Generation answer(List<ChatMessage> messages, @Nullable TokenListener listener) {
    return new Turn(messages).run(listener);
  }

  private Request formatted(Request request) {
    return responseFormat == null
        ? request
        : request.toBuilder().responseFormat(responseFormat).build();
  }

  /** A generation, the messages that it was made from, and how many were left out of them. */
  private record Attempt(Generation answer, List<ChatMessage> messages, int dropped) {}

  /** One turn, which may take several attempts until the conversation fits. */
  private final class Turn {
    private final List<ChatMessage> added;
    private final UnaryOperator<Request> asked;
    private final Consumer<Generation> accepted;
    private long call;
    private boolean stopped;

    Turn(List<ChatMessage> added) {
      this(added, CandleChat.this::formatted, answer -> {});
    }

    /**
     * A turn of its own kind.
     *
     * @param asked what of a request is asked
     * @param accepted throws for an answer that does not count
     */
    Turn(List<ChatMessage> added, UnaryOperator<Request> asked, Consumer<Generation> accepted) {
      this.added = added;
      this.asked = asked;
      this.accepted = accepted;
    }

    Generation run(@Nullable TokenListener listener) {
      turns.add(this);
      try {
        return answer(listener);
      } finally {
        turns.remove(this);
      }
    }

    private Generation answer(@Nullable TokenListener listener) {
      List<ChatMessage> messages = new ArrayList<>(history());
      messages.addAll(added);
      int dropped = 0;
      for (int round = 0; ; round++) {
        Attempt attempt = fitting(messages, round, listener);
        dropped += attempt.dropped;
        Generation answer = attempt.answer;
        if (!counts(answer)) {
          accepted.accept(answer);
          return answer;
        }
        messages = attempt.messages;
        messages.add(answer.toMessage());
        if (!isRunnable(answer.toolCalls())) {
          accepted.accept(answer);
          replace(messages);
          return answer.withDropped(dropped);
        }
        if (round == maxToolRounds) {
          throw new ToolLimitException(maxToolRounds);
        }
        for (ToolCall call : answer.toolCalls()) {
          messages.add(tool(call).run(call));
        }
      }
    }

    /** Generates, with as many of the messages as fit. */
    private Attempt fitting(
        List<ChatMessage> messages, int round, @Nullable TokenListener listener) {
      List<ChatMessage> fitting = new ArrayList<>(messages);
      while (true) {
        try {
          Request request = asked.apply(request(fitting, round));
          Generation answer = session.generateTurn(next(), request, listener);
          return new Attempt(answer, fitting, messages.size() - fitting.size());
        } catch (ContextFullException full) {
          List<ChatMessage> fewer = policy.fit(List.copyOf(fitting), full);
          if (fewer.equals(fitting)) {
            throw full;
          }
          fitting = new ArrayList<>(fewer);
        }
      }
    }

    private boolean counts(Generation answer) {
      return answer.finishReason() != FinishReason.CANCELLED
          && answer.finishReason() != FinishReason.TIMEOUT;
    }

    private boolean isRunnable(List<ToolCall> calls) {
      return !calls.isEmpty() && calls.stream().allMatch(call -> tool(call).isRunnable());
    }

    private Tool tool(ToolCall call) {
      return tools.stream()
          .filter(tool -> tool.name().equals(call.name()))
          .findFirst()
          .orElseThrow();
    }

    private Request request(List<ChatMessage> messages, int round) {
      // Having called what it had to, the model may answer.
      boolean has = round > 0 && !toolChoice.equals(ToolChoice.NONE);
      return Request.builder()
          .messages(messages)
          .options(options)
          .variables(variables)
          .tools(tools)
          .toolChoice(has ? ToolChoice.AUTO : toolChoice)
          .build();
    }

    private synchronized long next() {
      call = session.nextCall();
      if (stopped) {
        session.cancel(call);
      }
      return call;
    }

    synchronized void stop() {
      stopped = true;
      if (call != 0) {
        session.cancel(call);
      }
    }
  }

  /**
   * What was said so far, the system message first.
   *
   * @return the messages, which don't change
   */
  public List<ChatMessage> history() {
    synchronized (lock) {
      return history;
    }
  }

  private void replace(List<ChatMessage> messages) {
    List<ChatMessage> copy = List.copyOf(messages);
    synchronized (lock) {
      history = copy;
    }
  }

  /**
   * Notes where the conversation is now.
   *
   * @return the place, for {@link #rewind}
   */
  public Checkpoint checkpoint() {
    return new Checkpoint(history());
  }

  /**
   * Goes back, or forward again, to where a checkpoint was taken. What is still in the KV cache is
   * not computed again.
   *
   * @param checkpoint of this chat, or of one that was forked from it
   */
  public void rewind(Checkpoint checkpoint) {
    replace(checkpoint.history);
  }

  /** A place in a conversation. Immutable. */
  public static final class Checkpoint {
    private final List<ChatMessage> history;

    private Checkpoint(List<ChatMessage> history) {
      this.history = history;
    }
  }

  /**
   * Starts another conversation that goes on from here, over a session of its own. Nothing is
   * computed again, as for {@link CandleSession#fork}.
   *
   * @return the chat, to be closed on its own
   * @throws SessionBusyException when a turn is under way
   */
  public CandleChat fork() {
    return new CandleChat(this, session.fork());
  }

  /**
   * Stops the turn under way, if there is one: it returns soon, and does not count. Any thread may
   * call it, a listener too.
   */
  public void cancel() {
    turns.forEach(Turn::stop);
  }

  /**
   * Writes the conversation into a file, as {@link ChatMessage#toJson} does. A file that is there
   * is replaced.
   *
   * @param file the file
   * @throws UncheckedIOException when it cannot be written
   */
  public void save(Path file) {
    try {
      Files.writeString(file, Messages.write(history()) + "\n");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * Replaces the conversation by that of a file.
   *
   * @param file a file as {@link #save} writes it
   * @throws UncheckedIOException when it cannot be read
   * @throws IllegalArgumentException when it holds no messages
   */
  public void load(Path file) {
    try {
      replace(Messages.parse(Files.readString(file)));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Closes the session of a chat that was forked. Does nothing to a session of yours. */
  @Override
  public void close() {
    if (ownsSession) {
      session.close();
    }
  }

  /** How a chat is to be. Not for several threads. */
  public static final class Builder {
    private final CandleSession session;
    private GenerateOptions options = GenerateOptions.defaults();
    private Map<String, Object> variables = Map.of();
    private ContextPolicy policy = ContextPolicy.FAIL;
    private @Nullable ResponseFormat responseFormat;
    private List<Tool> tools = List.of();
    private ToolChoice toolChoice = ToolChoice.AUTO;
    private int maxToolRounds = 10;
    private List<ChatMessage> history = List.of();

    private Builder(CandleSession session) {
      this.session = Objects.requireNonNull(session, "session");
    }

    /**
     * Instructions at the beginning, in the place of any conversation so far.
     *
     * @param text the instructions
     * @return this
     */
    public Builder system(String text) {
      return history(List.of(ChatMessage.system(text)));
    }

    /**
     * What was said before.
     *
     * @param messages the messages, oldest first
     * @return this
     */
    public Builder history(List<ChatMessage> messages) {
      this.history = List.copyOf(messages);
      return this;
    }

    /**
     * How turns are answered; the model's own settings when left out.
     *
     * @param options the options
     * @return this
     */
    public Builder options(GenerateOptions options) {
      this.options = Objects.requireNonNull(options, "options");
      return this;
    }

    /**
     * Further variables that the model's chat template knows.
     *
     * @param variables names and values; values are those that JSON has
     * @return this
     */
    public Builder variables(Map<String, Object> variables) {
      this.variables = new LinkedHashMap<>(variables);
      return this;
    }

    /**
     * What to do when the context is full; {@link ContextPolicy#FAIL} when left out.
     *
     * @param policy the policy
     * @return this
     */
    public Builder contextPolicy(ContextPolicy policy) {
      this.policy = Objects.requireNonNull(policy, "policy");
      return this;
    }

    /**
     * What form each answer has to have.
     *
     * @param responseFormat the form
     * @return this
     */
    public Builder responseFormat(ResponseFormat responseFormat) {
      this.responseFormat = Objects.requireNonNull(responseFormat, "responseFormat");
      return this;
    }

    /**
     * What the model may call.
     *
     * @param tools the tools; the chat runs those that have code behind them
     * @return this
     */
    public Builder tools(List<Tool> tools) {
      this.tools = List.copyOf(tools);
      return this;
    }

    /**
     * What the model may call.
     *
     * @param tools the tools; the chat runs those that have code behind them
     * @return this
     */
    public Builder tools(Tool... tools) {
      return tools(List.of(tools));
    }

    /**
     * Whether the model calls tools; {@link ToolChoice#AUTO} when left out. A choice that requires
     * a call counts for the first generation of a turn.
     *
     * @param toolChoice the choice
     * @return this
     */
    public Builder toolChoice(ToolChoice toolChoice) {
      this.toolChoice = Objects.requireNonNull(toolChoice, "toolChoice");
      return this;
    }

    /**
     * How often in one turn tools are run and the model is told the results; 10 when left out.
     *
     * @param rounds at least 1
     * @return this
     */
    public Builder maxToolRounds(int rounds) {
      if (rounds < 1) {
        throw new IllegalArgumentException("maxToolRounds: expected at least 1, got " + rounds);
      }
      this.maxToolRounds = rounds;
      return this;
    }

    /**
     * Makes the chat. Nothing is computed yet.
     *
     * @return the chat
     */
    public CandleChat build() {
      return new CandleChat(this, session, false);
    }
  }
}
