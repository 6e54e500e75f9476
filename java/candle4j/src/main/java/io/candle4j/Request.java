package io.candle4j;

import java.time.Duration;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * All that one generation needs to know: a prompt, and how to answer it. Immutable; any number of
 * threads may use one, any number of times.
 *
 * {@snippet :
 * Request request =
 *     Request.builder()
 *         .messages(ChatMessage.system("Answer in one word."), ChatMessage.user("Capital of Italy?"))
 *         .options(GenerateOptions.greedy())
 *         .timeout(Duration.ofSeconds(30))
 *         .build();
 * }
 *
 * @see CandleSession#generate(Request)
 * @see CandleSession#stream(Request)
 * @see CandleSession#submit(Request)
 * @see CandleModel#generateAll(List)
 */
public final class Request {
  private final Prompt prompt;
  private final GenerateOptions options;
  private final Map<String, Object> variables;
  private final @Nullable ResponseFormat responseFormat;
  private final List<Tool> tools;
  private final ToolChoice toolChoice;
  private final @Nullable Duration timeout;
  private final boolean waitWhenFull;

  private Request(Builder builder, Prompt prompt) {
    this.prompt = prompt;
    this.options = builder.options;
    this.variables = Collections.unmodifiableMap(new LinkedHashMap<>(builder.variables));
    this.responseFormat = builder.responseFormat;
    this.tools = builder.tools;
    this.toolChoice = builder.toolChoice;
    this.timeout = builder.timeout;
    this.waitWhenFull = builder.waitWhenFull;
  }

  /** What to generate from. */
  public sealed interface Prompt {
    /**
     * A text.
     *
     * @param text the text
     * @param raw whether it is taken as it stands; otherwise it becomes one user message when the
     *     model has a chat template
     */
    record Text(String text, boolean raw) implements Prompt {
      /** Checks the text. */
      public Text {
        if (text.isEmpty()) {
          throw new IllegalArgumentException("prompt: expected a text, got an empty one");
        }
      }
    }

    /**
     * Token ids, to which nothing is added.
     *
     * @param ids the ids, at least one
     */
    record Tokens(TokenIds ids) implements Prompt {
      /** Checks the number of ids. */
      public Tokens {
        if (ids.isEmpty()) {
          throw new IllegalArgumentException("tokens: expected at least one");
        }
      }
    }

    /**
     * A conversation, rendered by the model's chat template.
     *
     * @param messages the messages, oldest first
     */
    record Chat(List<ChatMessage> messages) implements Prompt {
      /** Copies the list. */
      public Chat {
        messages = List.copyOf(messages);
      }
    }
  }

  /**
   * A text, answered with the model's own sampling.
   *
   * @param text a text; one user message when the model has a chat template
   * @return the request
   * @throws IllegalArgumentException when the text is empty
   */
  public static Request of(String text) {
    return builder().text(text).build();
  }

  /**
   * A text.
   *
   * @param text a text; one user message when the model has a chat template
   * @param options how
   * @return the request
   * @throws IllegalArgumentException when the text is empty
   */
  public static Request of(String text, GenerateOptions options) {
    return builder().text(text).options(options).build();
  }

  /**
   * Starts from nothing.
   *
   * @return a builder
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Starts from this request.
   *
   * @return a builder
   */
  public Builder toBuilder() {
    Builder builder = new Builder();
    builder.prompt = prompt;
    builder.options = options;
    builder.variables = variables;
    builder.responseFormat = responseFormat;
    builder.tools = tools;
    builder.toolChoice = toolChoice;
    builder.timeout = timeout;
    builder.waitWhenFull = waitWhenFull;
    return builder;
  }

  /**
   * What to generate from.
   *
   * @return the prompt
   */
  public Prompt prompt() {
    return prompt;
  }

  /**
   * How to sample, and when to end.
   *
   * @return the options
   */
  public GenerateOptions options() {
    return options;
  }

  /**
   * Further variables of the chat template.
   *
   * @return the variables, unmodifiable
   */
  public Map<String, Object> variables() {
    return variables;
  }

  /**
   * What form the answer has to have.
   *
   * @return the form; empty for any
   */
  public Optional<ResponseFormat> responseFormat() {
    return Optional.ofNullable(responseFormat);
  }

  /**
   * What the model may call.
   *
   * @return the tools; empty for none
   */
  public List<Tool> tools() {
    return tools;
  }

  /**
   * Whether the model calls tools.
   *
   * @return the choice
   */
  public ToolChoice toolChoice() {
    return toolChoice;
  }

  /**
   * After how long the generation ends with what there is.
   *
   * @return the time; empty for no limit
   */
  public Optional<Duration> timeout() {
    return Optional.ofNullable(timeout);
  }

  /**
   * Whether to wait while the model has as many requests as it takes.
   *
   * @return whether
   */
  public boolean waitWhenFull() {
    return waitWhenFull;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof Request that
        && prompt.equals(that.prompt)
        && options.equals(that.options)
        && variables.equals(that.variables)
        && Objects.equals(responseFormat, that.responseFormat)
        && tools.equals(that.tools)
        && toolChoice.equals(that.toolChoice)
        && Objects.equals(timeout, that.timeout)
        && waitWhenFull == that.waitWhenFull;
  }

  @Override
  public int hashCode() {
    return Objects.hash(
        prompt, options, variables, responseFormat, tools, toolChoice, timeout, waitWhenFull);
  }

  /** The prompt's kind and the options, without the prompt's words, which may be private. */
  @Override
  public String toString() {
    return "Request{" + prompt.getClass().getSimpleName() + ", " + options + "}";
  }

  /** Makes requests. Not for several threads. */
  public static final class Builder {
    private @Nullable Prompt prompt;
    private GenerateOptions options = GenerateOptions.defaults();
    private Map<String, Object> variables = Map.of();
    private @Nullable ResponseFormat responseFormat;
    private List<Tool> tools = List.of();
    private ToolChoice toolChoice = ToolChoice.AUTO;
    private @Nullable Duration timeout;
    private boolean waitWhenFull;

    private Builder() {}

    /**
     * A text to answer: one user message when the model has a chat template.
     *
     * @param text the text
     * @return this
     * @throws IllegalArgumentException when it is empty
     */
    public Builder text(String text) {
      prompt = new Prompt.Text(text, false);
      return this;
    }

    /**
     * A text to continue as it stands, without the chat template.
     *
     * @param text the text
     * @return this
     * @throws IllegalArgumentException when it is empty
     */
    public Builder rawText(String text) {
      prompt = new Prompt.Text(text, true);
      return this;
    }

    /**
     * Token ids to continue; nothing is added.
     *
     * @param ids the ids, at least one
     * @return this
     */
    public Builder tokens(TokenIds ids) {
      prompt = new Prompt.Tokens(ids);
      return this;
    }

    /**
     * Token ids to continue; nothing is added.
     *
     * @param ids the ids, at least one
     * @return this
     */
    public Builder tokens(int... ids) {
      return tokens(TokenIds.of(ids));
    }

    /**
     * A conversation to answer.
     *
     * @param messages the messages, oldest first
     * @return this
     */
    public Builder messages(List<ChatMessage> messages) {
      prompt = new Prompt.Chat(messages);
      return this;
    }

    /**
     * A conversation to answer.
     *
     * @param messages the messages, oldest first
     * @return this
     */
    public Builder messages(ChatMessage... messages) {
      return messages(List.of(messages));
    }

    /**
     * How to sample, and when to end; the model's own settings when left out.
     *
     * @param options the options
     * @return this
     */
    public Builder options(GenerateOptions options) {
      this.options = Objects.requireNonNull(options, "options");
      return this;
    }

    /**
     * Further variables that the model's chat template knows, in the place of any before.
     *
     * @param variables names and values; values are those that JSON has
     * @return this
     */
    public Builder variables(Map<String, Object> variables) {
      this.variables = new LinkedHashMap<>(variables);
      return this;
    }

    /**
     * What form the answer has to have.
     *
     * @param responseFormat the form
     * @return this
     */
    public Builder responseFormat(ResponseFormat responseFormat) {
      this.responseFormat = Objects.requireNonNull(responseFormat, "responseFormat");
      return this;
    }

    /**
     * What the model may call. It is told in the way of its chat template, so raw texts and token
     * ids take no tools. A session hands calls out, in {@link Generation#toolCalls}; a {@link
     * CandleChat} runs them.
     *
     * @param tools the tools
     * @return this
     */
    public Builder tools(List<Tool> tools) {
      this.tools = List.copyOf(tools);
      return this;
    }

    /**
     * What the model may call.
     *
     * @param tools the tools
     * @return this
     */
    public Builder tools(Tool... tools) {
      return tools(List.of(tools));
    }

    /**
     * Whether the model calls tools; {@link ToolChoice#AUTO} when left out.
     *
     * @param toolChoice the choice
     * @return this
     */
    public Builder toolChoice(ToolChoice toolChoice) {
      this.toolChoice = Objects.requireNonNull(toolChoice, "toolChoice");
      return this;
    }

    /**
     * After how long the generation ends with what there is, and {@link FinishReason#TIMEOUT}. Time
     * in a queue counts.
     *
     * @param timeout the time, above zero
     * @return this
     * @throws IllegalArgumentException when it is not above zero
     */
    public Builder timeout(Duration timeout) {
      if (!timeout.isPositive()) {
        throw new IllegalArgumentException("timeout: expected more than zero, got " + timeout);
      }
      this.timeout = timeout;
      return this;
    }

    /**
     * Waits while the model has as many requests as it takes at a time, instead of throwing {@link
     * QueueFullException}.
     *
     * @param waitWhenFull whether to wait
     * @return this
     */
    public Builder waitWhenFull(boolean waitWhenFull) {
      this.waitWhenFull = waitWhenFull;
      return this;
    }

    /**
     * Makes the request.
     *
     * @return the request
     * @throws IllegalStateException when there is no prompt
     * @throws IllegalArgumentException when there are variables, but nothing that reads them
     */
    public Request build() {
      if (prompt == null) {
        throw new IllegalStateException("a request needs a text, token ids or messages");
      }
      boolean isRendered =
          prompt instanceof Prompt.Chat || (prompt instanceof Prompt.Text text && !text.raw());
      if (!variables.isEmpty() && !isRendered) {
        throw new IllegalArgumentException(
            "variables: raw texts and token ids meet no chat template that could read them");
      }
      return new Request(this, prompt);
    }
  }
}
