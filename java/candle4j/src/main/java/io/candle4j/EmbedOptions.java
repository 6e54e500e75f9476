package io.candle4j;

import java.io.Serializable;
import java.util.Objects;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/** How texts become vectors. Immutable, and serializable. */
public final class EmbedOptions implements Serializable {
  private static final long serialVersionUID = 1L;

  private static final EmbedOptions DEFAULTS = builder().build();

  private final EmbedPrompt prompt;
  private final boolean normalize;
  private final boolean truncate;
  private final @Nullable Integer dimensions;

  private EmbedOptions(Builder builder) {
    prompt = builder.prompt;
    normalize = builder.normalize;
    truncate = builder.truncate;
    dimensions = builder.dimensions;
  }

  /**
   * The model's default prompt, vectors of the length 1, and texts that are too long cut at their
   * end.
   *
   * @return the options
   */
  public static EmbedOptions defaults() {
    return DEFAULTS;
  }

  /**
   * The same for what is looked for: with the model's prompt for queries, if it has one.
   *
   * @return the options
   */
  public static EmbedOptions query() {
    return builder().query().build();
  }

  /**
   * The same for what is found: with the model's prompt for documents, if it has one.
   *
   * @return the options
   */
  public static EmbedOptions document() {
    return builder().document().build();
  }

  /**
   * Starts from the defaults.
   *
   * @return a builder
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * What is put before texts.
   *
   * @return the prompt
   */
  public EmbedPrompt prompt() {
    return prompt;
  }

  /**
   * Whether vectors get the length 1.
   *
   * @return whether they do
   */
  public boolean normalizes() {
    return normalize;
  }

  /**
   * Whether texts that are too long are cut.
   *
   * @return whether they are; they are errors otherwise
   */
  public boolean truncates() {
    return truncate;
  }

  /**
   * How many numbers of each vector are kept.
   *
   * @return the number; empty for what the model's files say
   */
  public OptionalInt dimensions() {
    return dimensions == null ? OptionalInt.empty() : OptionalInt.of(dimensions);
  }

  /** Makes options. Not for several threads. */
  public static final class Builder {
    private EmbedPrompt prompt = new EmbedPrompt.Default();
    private boolean normalize = true;
    private boolean truncate = true;
    private @Nullable Integer dimensions;

    private Builder() {}

    /**
     * Puts a prompt before texts.
     *
     * @param prompt which one
     * @return this
     */
    public Builder prompt(EmbedPrompt prompt) {
      this.prompt = Objects.requireNonNull(prompt, "prompt");
      return this;
    }

    /**
     * Puts the model's prompt for queries before texts; its default prompt where it has none.
     *
     * @return this
     */
    public Builder query() {
      prompt = new EmbedPrompt.Query();
      return this;
    }

    /**
     * Puts the model's prompt for documents before texts; its default prompt where it has none.
     *
     * @return this
     */
    public Builder document() {
      prompt = new EmbedPrompt.Document();
      return this;
    }

    /**
     * Puts a prompt of the model before texts.
     *
     * @param name one of {@link EmbedderInfo#prompts()}
     * @return this
     */
    public Builder promptName(String name) {
      prompt = new EmbedPrompt.Named(name);
      return this;
    }

    /**
     * Puts a text before texts.
     *
     * @param text the text; an empty one for none, not even the model's default
     * @return this
     */
    public Builder prompt(String text) {
      prompt = new EmbedPrompt.Text(text);
      return this;
    }

    /**
     * Whether vectors get the length 1; true when left out. A step of the model that does so is
     * done in either case.
     *
     * @param normalize whether they do
     * @return this
     */
    public Builder normalize(boolean normalize) {
      this.normalize = normalize;
      return this;
    }

    /**
     * Whether the end of a text that is too long is left out, as {@link Embedding#leftOut()} tells;
     * true when left out. The text has a {@link ContextFullException} otherwise.
     *
     * @param truncate whether it is
     * @return this
     */
    public Builder truncate(boolean truncate) {
      this.truncate = truncate;
      return this;
    }

    /**
     * How many numbers of each vector are kept, from the first on, before it gets the length 1: for
     * models that were trained so that the first ones say most (Matryoshka).
     *
     * @param dimensions at least 1, at most the model's {@link CandleEmbedder#dimensions()}
     * @return this
     */
    public Builder dimensions(int dimensions) {
      if (dimensions < 1) {
        throw new IllegalArgumentException("dimensions: expected at least 1, got " + dimensions);
      }
      this.dimensions = dimensions;
      return this;
    }

    /**
     * Makes the options.
     *
     * @return the options
     */
    public EmbedOptions build() {
      return new EmbedOptions(this);
    }
  }
}
