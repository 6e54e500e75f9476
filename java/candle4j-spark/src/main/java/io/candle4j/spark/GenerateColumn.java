package io.candle4j.spark;

import io.candle4j.CandleModel;
import io.candle4j.GenerateOptions;
import io.candle4j.ResponseFormat;
import io.candle4j.spark.InputColumn.Type;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.functions;
import org.jspecify.annotations.Nullable;

/**
 * A column of answers. Each is a struct of {@code text}, {@code reasoning} (what the model thought
 * before, or null), {@code finish_reason} (such as {@code STOP} or {@code LENGTH}), {@code
 * prompt_tokens}, {@code completion_tokens}, {@code seed} and {@code error}.
 *
 * <p>Answers are those that {@link CandleModel} gives to the same request with the same seed, in
 * whatever partition, company or attempt: a task that runs again gives the same answers.
 *
 * {@snippet :
 * Dataset<Row> answers =
 *     GenerateColumn.builder("answer")
 *         .model("Qwen/Qwen3-0.6B")
 *         .prompt("question")
 *         .options(GenerateOptions.builder().maxTokens(200).build())
 *         .build()
 *         .addTo(questions);
 * }
 */
public final class GenerateColumn extends ModelColumn {
  private final GenerateRows work;

  private GenerateColumn(Builder builder, List<InputColumn> inputs) {
    super(builder, inputs);
    this.work = builder.work();
  }

  /**
   * Starts a column.
   *
   * @param name the column's name
   * @return a builder, of the built-in model
   */
  public static Builder builder(String name) {
    return new Builder(name);
  }

  @Override
  RowWork<?> work() {
    return work;
  }

  /** Makes columns. Not for several threads. */
  public static final class Builder extends ModelColumn.Builder<Builder> {
    private @Nullable Column prompt;
    private @Nullable Column seed;
    private @Nullable String system;
    private GenerateOptions options = GenerateOptions.defaults();
    private @Nullable ResponseFormat responseFormat;
    private @Nullable Duration timeout;
    private boolean isRaw;

    private Builder(String name) {
      super(name, CandleModel.BUILT_IN, 4);
    }

    @Override
    Builder self() {
      return this;
    }

    /**
     * Which column is answered.
     *
     * @param column the name of a column of texts
     * @return this
     */
    public Builder prompt(String column) {
      return prompt(functions.col(column));
    }

    /**
     * What is answered. A row whose prompt is null or empty gets an error.
     *
     * @param prompt an expression for a text: one user message when the model has a chat template
     * @return this
     */
    public Builder prompt(Column prompt) {
      this.prompt = Objects.requireNonNull(prompt, "prompt");
      return this;
    }

    /**
     * What the model is told before each prompt, as a system message.
     *
     * @param system the text
     * @return this
     */
    public Builder system(String system) {
      this.system = Objects.requireNonNull(system, "system");
      return this;
    }

    /**
     * Whether prompts are continued as they stand, without the model's chat template; false when
     * left out.
     *
     * @param isRaw whether
     * @return this
     */
    public Builder raw(boolean isRaw) {
      this.isRaw = isRaw;
      return this;
    }

    /**
     * How to generate; the model's own settings when left out.
     *
     * @param options the options. Each row's seed comes from theirs (0 when left out) and the
     *     prompt, unless {@link #seed} gives it, so rows with the same prompt get the same answer
     * @return this
     */
    public Builder options(GenerateOptions options) {
      this.options = Objects.requireNonNull(options, "options");
      return this;
    }

    /**
     * The seed of each row.
     *
     * @param seed an expression for a number of 64 bits that belongs to the row, such as its id;
     *     not one of its place, such as {@code monotonically_increasing_id}, which may change when
     *     a task runs again. Where it is null, the row gets an error
     * @return this
     */
    public Builder seed(Column seed) {
      this.seed = Objects.requireNonNull(seed, "seed");
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
     * After how long each answer ends with what there is, and the finish reason {@code TIMEOUT}.
     * Such an answer may be another one when its task runs again.
     *
     * @param timeout the time, above zero
     * @return this
     */
    public Builder timeout(Duration timeout) {
      if (!timeout.isPositive()) {
        throw new IllegalArgumentException("timeout: expected more than zero, got " + timeout);
      }
      this.timeout = timeout;
      return this;
    }

    GenerateRows work() {
      return new GenerateRows(model(), options, system, isRaw, responseFormat, timeout);
    }

    /**
     * Makes the column.
     *
     * @return the column
     * @throws IllegalStateException when there is no prompt
     * @throws IllegalArgumentException when a raw prompt has a system message
     */
    public GenerateColumn build() {
      if (prompt == null) {
        throw new IllegalStateException("prompt: expected a column");
      }
      if (isRaw && system != null) {
        throw new IllegalArgumentException("system: raw prompts have no system message");
      }
      List<InputColumn> inputs = new ArrayList<>();
      inputs.add(new InputColumn("prompt", prompt, List.of(Type.TEXT)));
      if (seed != null) {
        inputs.add(new InputColumn("seed", seed, List.of(Type.NUMBER)));
      }
      return new GenerateColumn(this, List.copyOf(inputs));
    }
  }
}
