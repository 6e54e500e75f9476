package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.request.ChatRequestParameters;
import dev.langchain4j.model.chat.request.DefaultChatRequestParameters;
import io.candle4j.GenerateOptions;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * LangChain4j's request parameters, and what else a request can say here: a seed, thinking, min-p,
 * penalties of several kinds.
 */
public final class CandleChatRequestParameters extends DefaultChatRequestParameters {
  private final @Nullable GenerateOptions options;

  private CandleChatRequestParameters(Builder builder) {
    super(builder);
    this.options = builder.options;
  }

  /**
   * Begins parameters.
   *
   * @return a builder without any
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * How the answer is generated where LangChain4j's own parameters say nothing; they count before
   * these. They stand in place of {@link CandleChatModel.Builder#options} as a whole.
   *
   * @return the options
   */
  public Optional<GenerateOptions> options() {
    return Optional.ofNullable(options);
  }

  @Override
  public CandleChatRequestParameters overrideWith(ChatRequestParameters that) {
    return builder().overrideWith(this).overrideWith(that).build();
  }

  @Override
  public CandleChatRequestParameters defaultedBy(ChatRequestParameters that) {
    return builder().overrideWith(that).overrideWith(this).build();
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return super.equals(other)
        && other instanceof CandleChatRequestParameters that
        && Objects.equals(options, that.options);
  }

  @Override
  public int hashCode() {
    return Objects.hash(super.hashCode(), options);
  }

  @Override
  public String toString() {
    return "CandleChatRequestParameters{" + super.toString() + ", options=" + options + "}";
  }

  /** Puts {@link CandleChatRequestParameters} together. */
  public static final class Builder extends DefaultChatRequestParameters.Builder<Builder> {
    private @Nullable GenerateOptions options;

    private Builder() {}

    @Override
    public Builder overrideWith(ChatRequestParameters parameters) {
      super.overrideWith(parameters);
      if (parameters instanceof CandleChatRequestParameters own && own.options != null) {
        options = own.options;
      }
      return this;
    }

    /**
     * Sets {@link CandleChatRequestParameters#options()}.
     *
     * @param options the options
     * @return this builder
     */
    public Builder options(GenerateOptions options) {
      this.options = Objects.requireNonNull(options, "options");
      return this;
    }

    @Override
    public CandleChatRequestParameters build() {
      return new CandleChatRequestParameters(this);
    }
  }
}
