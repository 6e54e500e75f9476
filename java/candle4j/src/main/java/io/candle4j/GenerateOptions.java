package io.candle4j;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * How to generate. What is left out is taken from the model's own {@code generation_config.json},
 * and what that leaves out too is greedy decoding.
 *
 * <p>Immutable; {@link #builder()} and {@link #toBuilder()} make new ones.
 */
public final class GenerateOptions {
  private static final GenerateOptions DEFAULTS = builder().build();

  private final Builder values;

  private GenerateOptions(Builder values) {
    this.values = values;
  }

  /**
   * Options that leave everything to the model.
   *
   * @return the options
   */
  public static GenerateOptions defaults() {
    return DEFAULTS;
  }

  /**
   * Options that always take the most probable token, whatever the model's file proposes.
   *
   * @return the options
   */
  public static GenerateOptions greedy() {
    return builder().temperature(0).repeatPenalty(1).build();
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
   * Starts from these options.
   *
   * @return a builder
   */
  public Builder toBuilder() {
    return values.copy();
  }

  /**
   * See {@link Builder#maxTokens(int)}.
   *
   * @return the limit, if set
   */
  public OptionalInt maxTokens() {
    return optional(values.maxTokens);
  }

  /**
   * See {@link Builder#temperature(double)}.
   *
   * @return the temperature, if set
   */
  public OptionalDouble temperature() {
    return optional(values.temperature);
  }

  /**
   * See {@link Builder#topK(int)}.
   *
   * @return the number of candidates, if set
   */
  public OptionalInt topK() {
    return optional(values.topK);
  }

  /**
   * See {@link Builder#topP(double)}.
   *
   * @return the probability, if set
   */
  public OptionalDouble topP() {
    return optional(values.topP);
  }

  /**
   * See {@link Builder#minP(double)}.
   *
   * @return the fraction, if set
   */
  public OptionalDouble minP() {
    return optional(values.minP);
  }

  /**
   * See {@link Builder#repeatPenalty(double)}.
   *
   * @return the divisor, if set
   */
  public OptionalDouble repeatPenalty() {
    return optional(values.repeatPenalty);
  }

  /**
   * See {@link Builder#repeatWindow(int)}.
   *
   * @return the number of tokens, if set
   */
  public OptionalInt repeatWindow() {
    return optional(values.repeatWindow);
  }

  /**
   * See {@link Builder#seed(long)}.
   *
   * @return the seed, if set
   */
  public OptionalLong seed() {
    return values.seed == null ? OptionalLong.empty() : OptionalLong.of(values.seed);
  }

  /**
   * See {@link Builder#stop(String...)}.
   *
   * @return the texts
   */
  public List<String> stop() {
    return values.stop;
  }

  /**
   * See {@link Builder#ignoreEos(boolean)}.
   *
   * @return whether end-of-sequence tokens are like any other
   */
  public boolean ignoreEos() {
    return values.ignoreEos;
  }

  /**
   * See {@link Builder#logitBias(Map)}.
   *
   * @return numbers by token ids
   */
  public Map<Integer, Double> logitBias() {
    return values.logitBias;
  }

  /**
   * See {@link Builder#logprobs(int)}.
   *
   * @return the number, if one was set
   */
  public OptionalInt logprobs() {
    return optional(values.logprobs);
  }

  /**
   * See {@link Builder#raw(boolean)}.
   *
   * @return whether prompts are taken as they stand
   */
  public boolean raw() {
    return values.raw;
  }

  private static OptionalInt optional(@Nullable Integer value) {
    return value == null ? OptionalInt.empty() : OptionalInt.of(value);
  }

  private static OptionalDouble optional(@Nullable Double value) {
    return value == null ? OptionalDouble.empty() : OptionalDouble.of(value);
  }

  /** Collects options. Not for several threads. */
  public static final class Builder {
    private @Nullable Integer maxTokens;
    private @Nullable Double temperature;
    private @Nullable Integer topK;
    private @Nullable Double topP;
    private @Nullable Double minP;
    private @Nullable Double repeatPenalty;
    private @Nullable Integer repeatWindow;
    private @Nullable Long seed;
    private List<String> stop = List.of();
    private boolean ignoreEos;
    private boolean raw;
    private Map<Integer, Double> logitBias = Map.of();
    private @Nullable Integer logprobs;

    private Builder() {}

    /**
     * The most tokens to generate; 2048 when left out. The end of the context stops sooner.
     *
     * @param maxTokens at least 1
     * @return this
     */
    public Builder maxTokens(int maxTokens) {
      this.maxTokens = atLeast("maxTokens", 1, maxTokens);
      return this;
    }

    /**
     * How freely to choose: 0 takes the most probable token, 1 draws by the model's own
     * probabilities, more flattens them.
     *
     * @param temperature at least 0
     * @return this
     */
    public Builder temperature(double temperature) {
      this.temperature = inRange("temperature", temperature, 0, Double.MAX_VALUE);
      return this;
    }

    /**
     * Draw among this many most probable tokens; 0 means all.
     *
     * @param topK at least 0
     * @return this
     */
    public Builder topK(int topK) {
      this.topK = atLeast("topK", 0, topK);
      return this;
    }

    /**
     * Draw among the fewest tokens whose probabilities sum to this; 1 means all.
     *
     * @param topP above 0, at most 1
     * @return this
     */
    public Builder topP(double topP) {
      this.topP = inRange("topP", topP, Double.MIN_VALUE, 1);
      return this;
    }

    /**
     * Draw among tokens that have at least this fraction of the best one's probability.
     *
     * @param minP from 0 (all) to 1
     * @return this
     */
    public Builder minP(double minP) {
      this.minP = inRange("minP", minP, 0, 1);
      return this;
    }

    /**
     * Makes tokens that occurred less probable: positive logits are divided by this, negative ones
     * multiplied.
     *
     * @param repeatPenalty above 0; 1 changes nothing
     * @return this
     */
    public Builder repeatPenalty(double repeatPenalty) {
      this.repeatPenalty =
          inRange("repeatPenalty", repeatPenalty, Double.MIN_VALUE, Double.MAX_VALUE);
      return this;
    }

    /**
     * How many of the last tokens, those of the prompt included, the penalty counts; all when left
     * out.
     *
     * @param repeatWindow at least 0
     * @return this
     */
    public Builder repeatWindow(int repeatWindow) {
      this.repeatWindow = atLeast("repeatWindow", 0, repeatWindow);
      return this;
    }

    /**
     * The start of the random sequence, to repeat an answer. Left out, it is random; {@link
     * Generation#seed()} tells it.
     *
     * @param seed any number; taken as unsigned
     * @return this
     */
    public Builder seed(long seed) {
      this.seed = seed;
      return this;
    }

    /**
     * Texts that end the answer and are cut from it.
     *
     * @param stop texts, none of them empty
     * @return this
     */
    public Builder stop(String... stop) {
      return stop(List.of(stop));
    }

    /**
     * Texts that end the answer and are cut from it.
     *
     * @param stop texts, none of them empty
     * @return this
     */
    public Builder stop(List<String> stop) {
      for (String text : stop) {
        if (text.isEmpty()) {
          throw new IllegalArgumentException("stop: an empty text stops nothing");
        }
      }
      this.stop = List.copyOf(stop);
      return this;
    }

    /**
     * Go on after an end-of-sequence token as if it were any other.
     *
     * @param ignoreEos whether to
     * @return this
     */
    public Builder ignoreEos(boolean ignoreEos) {
      this.ignoreEos = ignoreEos;
      return this;
    }

    /**
     * Take text prompts as they stand. Otherwise a prompt becomes one user message of a chat when
     * the model has a chat template.
     *
     * @param raw whether to
     * @return this
     */
    public Builder raw(boolean raw) {
      this.raw = raw;
      return this;
    }

    /**
     * What is added to the logits of tokens before one is chosen: much below zero forbids a token,
     * much above makes sure of it.
     *
     * @param logitBias finite numbers by token ids
     * @return this
     */
    public Builder logitBias(Map<Integer, Double> logitBias) {
      logitBias.forEach((id, bias) -> {
        atLeast("logitBias", 0, id);
        inRange("logitBias", bias, -Double.MAX_VALUE, Double.MAX_VALUE);
      });
      this.logitBias = Map.copyOf(logitBias);
      return this;
    }

    /**
     * Tell how probable each new token was: {@link Generation#logprobs()}.
     *
     * @param top how many of the most probable tokens in its place to tell too; at least 0
     * @return this
     */
    public Builder logprobs(int top) {
      this.logprobs = atLeast("logprobs", 0, top);
      return this;
    }

    /**
     * Makes the options.
     *
     * @return the options
     */
    public GenerateOptions build() {
      return new GenerateOptions(copy());
    }

    private Builder copy() {
      Builder copy = new Builder();
      copy.maxTokens = maxTokens;
      copy.temperature = temperature;
      copy.topK = topK;
      copy.topP = topP;
      copy.minP = minP;
      copy.repeatPenalty = repeatPenalty;
      copy.repeatWindow = repeatWindow;
      copy.seed = seed;
      copy.logitBias = logitBias;
      copy.logprobs = logprobs;
      copy.stop = new ArrayList<>(stop);
      copy.ignoreEos = ignoreEos;
      copy.raw = raw;
      return copy;
    }

    private static int atLeast(String name, int least, int value) {
      if (value < least) {
        throw new IllegalArgumentException(
            name + ": expected at least " + least + ", got " + value);
      }
      return value;
    }

    private static double inRange(String name, double value, double least, double most) {
      if (!(value >= least && value <= most)) {
        throw new IllegalArgumentException(name + ": got " + value);
      }
      return value;
    }
  }
}
