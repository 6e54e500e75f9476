package io.candle4j.springai;

import io.candle4j.GenerateOptions;
import io.candle4j.Thinking;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.chat.prompt.ChatOptions;
import org.springframework.ai.model.tool.DefaultToolCallingChatOptions;
import org.springframework.ai.model.tool.StructuredOutputChatOptions;

/**
 * What Spring AI says of an answer, and what candle4j can beyond that: a seed, min-p, a repetition
 * penalty, thinking, and a JSON schema that the answer holds. What is null is the model's own.
 * Immutable.
 */
public final class CandleChatOptions extends DefaultToolCallingChatOptions
    implements StructuredOutputChatOptions {
  private final @Nullable Double minP;
  private final @Nullable Double repeatPenalty;
  private final @Nullable Long seed;
  private final @Nullable Boolean thinking;
  private final @Nullable String outputSchema;

  private CandleChatOptions(DefaultToolCallingChatOptions common, Builder builder) {
    super(
        common.getToolCallbacks(),
        common.getToolContext(),
        common.getModel(),
        common.getFrequencyPenalty(),
        common.getMaxTokens(),
        common.getPresencePenalty(),
        common.getStopSequences(),
        common.getTemperature(),
        common.getTopK(),
        common.getTopP());
    this.minP = builder.minP;
    this.repeatPenalty = builder.repeatPenalty;
    this.seed = builder.seed;
    this.thinking = builder.thinking;
    this.outputSchema = builder.outputSchema;
  }

  /**
   * Starts from the model's own options.
   *
   * @return a builder
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Draws only among tokens at least this probable, as a share of the most probable one.
   *
   * @return 0 to 1, or null
   */
  public @Nullable Double getMinP() {
    return minP;
  }

  /**
   * By what the logits of tokens that were there are divided.
   *
   * @return above 0, or null
   */
  public @Nullable Double getRepeatPenalty() {
    return repeatPenalty;
  }

  /**
   * The start of the random sequence.
   *
   * @return the seed, or null for another each time
   */
  public @Nullable Long getSeed() {
    return seed;
  }

  /**
   * Whether the model thinks before it answers, where it can.
   *
   * @return whether it does, or null
   */
  public @Nullable Boolean getThinking() {
    return thinking;
  }

  /**
   * The JSON schema that the answer holds.
   *
   * @return the schema, or null for a text
   */
  @Override
  public @Nullable String getOutputSchema() {
    return outputSchema;
  }

  @Override
  public Builder mutate() {
    return new Builder()
        .model(getModel())
        .frequencyPenalty(getFrequencyPenalty())
        .maxTokens(getMaxTokens())
        .presencePenalty(getPresencePenalty())
        .stopSequences(getStopSequences())
        .temperature(getTemperature())
        .topK(getTopK())
        .topP(getTopP())
        .toolCallbacks(getToolCallbacks())
        .toolContext(getToolContext())
        .minP(minP)
        .repeatPenalty(repeatPenalty)
        .seed(seed)
        .thinking(thinking)
        .outputSchema(outputSchema);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return super.equals(other)
        && other instanceof CandleChatOptions that
        && Objects.equals(minP, that.minP)
        && Objects.equals(repeatPenalty, that.repeatPenalty)
        && Objects.equals(seed, that.seed)
        && Objects.equals(thinking, that.thinking)
        && Objects.equals(outputSchema, that.outputSchema);
  }

  @Override
  public int hashCode() {
    return Objects.hash(super.hashCode(), minP, repeatPenalty, seed, thinking, outputSchema);
  }

  /** The library's options. */
  GenerateOptions toOptions() {
    GenerateOptions.Builder options = GenerateOptions.builder();
    set(getTemperature(), options::temperature);
    set(getTopP(), options::topP);
    set(getTopK(), options::topK);
    set(minP, options::minP);
    set(repeatPenalty, options::repeatPenalty);
    set(getFrequencyPenalty(), options::frequencyPenalty);
    set(getPresencePenalty(), options::presencePenalty);
    set(getMaxTokens(), options::maxTokens);
    set(seed, options::seed);
    set(thinking, on -> options.thinking(on ? Thinking.ON : Thinking.OFF));
    List<String> stop = getStopSequences();
    if (stop != null && !stop.isEmpty()) {
      options.stop(stop);
    }
    return options.build();
  }

  private static <T> void set(@Nullable T value, java.util.function.Consumer<T> set) {
    if (value != null) {
      set.accept(value);
    }
  }

  /** Puts {@link CandleChatOptions} together. Not for several threads. */
  public static final class Builder extends DefaultToolCallingChatOptions.Builder<Builder>
      implements StructuredOutputChatOptions.Builder<Builder> {
    private @Nullable Double minP;
    private @Nullable Double repeatPenalty;
    private @Nullable Long seed;
    private @Nullable Boolean thinking;
    private @Nullable String outputSchema;

    private Builder() {}

    /**
     * Draws only among tokens at least this probable, as a share of the most probable one.
     *
     * @param minP 0 to 1, or null
     * @return this
     */
    public Builder minP(@Nullable Double minP) {
      this.minP = minP;
      return this;
    }

    /**
     * Divides the logits of tokens that were there.
     *
     * @param repeatPenalty above 0, or null
     * @return this
     */
    public Builder repeatPenalty(@Nullable Double repeatPenalty) {
      this.repeatPenalty = repeatPenalty;
      return this;
    }

    /**
     * The start of the random sequence: the same prompt, options and seed give the same answer.
     *
     * @param seed the seed, or null for another each time
     * @return this
     */
    public Builder seed(@Nullable Long seed) {
      this.seed = seed;
      return this;
    }

    /**
     * Whether the model thinks before it answers, where it can.
     *
     * @param thinking whether it does, or null
     * @return this
     */
    public Builder thinking(@Nullable Boolean thinking) {
      this.thinking = thinking;
      return this;
    }

    @Override
    public Builder outputSchema(@Nullable String outputSchema) {
      this.outputSchema = outputSchema;
      return this;
    }

    @Override
    public Builder combineWith(ChatOptions.Builder<?> other) {
      super.combineWith(other);
      if (other instanceof Builder that) {
        minP = that.minP == null ? minP : that.minP;
        repeatPenalty = that.repeatPenalty == null ? repeatPenalty : that.repeatPenalty;
        seed = that.seed == null ? seed : that.seed;
        thinking = that.thinking == null ? thinking : that.thinking;
        outputSchema = that.outputSchema == null ? outputSchema : that.outputSchema;
      } else if (other instanceof StructuredOutputChatOptions.Builder<?> that
          && that.build() instanceof StructuredOutputChatOptions options
          && options.getOutputSchema() != null) {
        outputSchema = options.getOutputSchema();
      }
      return this;
    }

    @Override
    public CandleChatOptions build() {
      // What all options have is put together as Spring AI does.
      return new CandleChatOptions((DefaultToolCallingChatOptions) super.build(), this);
    }
  }
}
