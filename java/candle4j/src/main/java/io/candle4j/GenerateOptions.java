package io.candle4j;

import java.io.Serializable;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * How to generate. What is left out is taken from the model's own {@code generation_config.json},
 * and what that leaves out too is greedy decoding.
 *
 * <p>Immutable; {@link #builder()} and {@link #toBuilder()} make new ones. Serializable, for
 * programs that send them to other machines.
 */
public final class GenerateOptions implements Serializable {
  private static final long serialVersionUID = 1L;

  /** The largest penalty: logits have some tens. */
  private static final double LARGEST = 1e6;

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
    return builder().temperature(0).repeatPenalty(1).noRepeatNgramSize(0).build();
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
   * See {@link Builder#minTokens(int)}.
   *
   * @return the number of tokens, if set
   */
  public OptionalInt minTokens() {
    return optional(values.minTokens);
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
   * See {@link Builder#typicalP(double)}.
   *
   * @return the probability, if set
   */
  public OptionalDouble typicalP() {
    return optional(values.typicalP);
  }

  /**
   * See {@link Builder#topNSigma(double)}.
   *
   * @return the number of deviations, if set
   */
  public OptionalDouble topNSigma() {
    return optional(values.topNSigma);
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
   * See {@link Builder#presencePenalty(double)}.
   *
   * @return the penalty, if set
   */
  public OptionalDouble presencePenalty() {
    return optional(values.presencePenalty);
  }

  /**
   * See {@link Builder#frequencyPenalty(double)}.
   *
   * @return the penalty, if set
   */
  public OptionalDouble frequencyPenalty() {
    return optional(values.frequencyPenalty);
  }

  /**
   * See {@link Builder#dryMultiplier(double)}.
   *
   * @return the multiplier, if set
   */
  public OptionalDouble dryMultiplier() {
    return optional(values.dryMultiplier);
  }

  /**
   * See {@link Builder#dryBase(double)}.
   *
   * @return the base, if set
   */
  public OptionalDouble dryBase() {
    return optional(values.dryBase);
  }

  /**
   * See {@link Builder#dryAllowedLength(int)}.
   *
   * @return the length, if set
   */
  public OptionalInt dryAllowedLength() {
    return optional(values.dryAllowedLength);
  }

  /**
   * See {@link Builder#dryBreakers(List)}.
   *
   * @return the texts, if set
   */
  public Optional<List<String>> dryBreakers() {
    return Optional.ofNullable(values.dryBreakers);
  }

  /**
   * See {@link Builder#noRepeatNgramSize(int)}.
   *
   * @return the length, if set
   */
  public OptionalInt noRepeatNgramSize() {
    return optional(values.noRepeatNgramSize);
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
   * See {@link Builder#promptLookup(boolean)}.
   *
   * @return whether prompt lookup decoding may be used
   */
  public boolean promptLookup() {
    return values.promptLookup;
  }

  /**
   * Whether the model thinks before it answers.
   *
   * @return the setting; empty for what its chat template does by itself
   */
  public Optional<Thinking> thinking() {
    return Optional.ofNullable(values.thinking);
  }

  /** Whether the other object has the same options. */
  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof GenerateOptions options && values.all().equals(options.values.all());
  }

  @Override
  public int hashCode() {
    return values.all().hashCode();
  }

  /** The options that were set, such as {@code GenerateOptions{maxTokens=5, stop=[.]}}. */
  @Override
  public String toString() {
    return values.all().entrySet().stream()
        .map(option -> option.getKey() + "=" + option.getValue())
        .collect(Collectors.joining(", ", "GenerateOptions{", "}"));
  }

  private static OptionalInt optional(@Nullable Integer value) {
    return value == null ? OptionalInt.empty() : OptionalInt.of(value);
  }

  private static OptionalDouble optional(@Nullable Double value) {
    return value == null ? OptionalDouble.empty() : OptionalDouble.of(value);
  }

  /** Collects options. Not for several threads. */
  public static final class Builder implements Serializable {
    private static final long serialVersionUID = 1L;

    private @Nullable Integer maxTokens;
    private @Nullable Integer minTokens;
    private @Nullable Double temperature;
    private @Nullable Integer topK;
    private @Nullable Double topP;
    private @Nullable Double minP;
    private @Nullable Double typicalP;
    private @Nullable Double topNSigma;
    private @Nullable Double repeatPenalty;
    private @Nullable Integer repeatWindow;
    private @Nullable Double presencePenalty;
    private @Nullable Double frequencyPenalty;
    private @Nullable Double dryMultiplier;
    private @Nullable Double dryBase;
    private @Nullable Integer dryAllowedLength;

    @SuppressWarnings("serial") // A copy, which is serializable.
    private @Nullable List<String> dryBreakers;

    private @Nullable Integer noRepeatNgramSize;
    private @Nullable Long seed;

    @SuppressWarnings("serial") // A copy, which is serializable.
    private List<String> stop = List.of();

    private boolean ignoreEos;

    @SuppressWarnings("serial") // A copy, which is serializable.
    private Map<Integer, Double> logitBias = Map.of();

    private @Nullable Integer logprobs;
    private boolean promptLookup = true;
    private @Nullable Thinking thinking;

    private Builder() {}

    /**
     * The most tokens to generate. Left out, it is the limit of the model's own file, and 2048
     * where that has none. The end of the context stops sooner.
     *
     * @param maxTokens at least 1
     * @return this
     */
    public Builder maxTokens(int maxTokens) {
      this.maxTokens = atLeast("maxTokens", 1, maxTokens);
      return this;
    }

    /**
     * Generate at least this many tokens before the answer may end.
     *
     * @param minTokens at least 0
     * @return this
     */
    public Builder minTokens(int minTokens) {
      this.minTokens = atLeast("minTokens", 0, minTokens);
      return this;
    }

    /**
     * How freely to choose: 0 takes the most probable token, 1 draws by the model's own
     * probabilities, more flattens them. At 0 nothing counts of what the model's file proposes for
     * drawing: cuts, and penalties for presence, frequency and sequences.
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
     * Draw among the tokens whose information is nearest to what is expected at this place, as far
     * as their probabilities sum to this (locally typical sampling); 1 means all.
     *
     * @param typicalP above 0, at most 1
     * @return this
     */
    public Builder typicalP(double typicalP) {
      this.typicalP = inRange("typicalP", typicalP, Double.MIN_VALUE, 1);
      return this;
    }

    /**
     * Draw among tokens whose logits are within this many standard deviations of the best one's
     * (top-nσ); 0 means all.
     *
     * @param topNSigma at least 0
     * @return this
     */
    public Builder topNSigma(double topNSigma) {
      this.topNSigma = inRange("topNSigma", topNSigma, 0, LARGEST);
      return this;
    }

    /**
     * Makes tokens that occurred less probable: positive logits are divided by this, negative ones
     * multiplied.
     *
     * @param repeatPenalty above 0, from a millionth to a million; 1 changes nothing
     * @return this
     */
    public Builder repeatPenalty(double repeatPenalty) {
      this.repeatPenalty = inRange("repeatPenalty", repeatPenalty, 1 / LARGEST, LARGEST);
      return this;
    }

    /**
     * How many of the last tokens, those of the prompt included, the penalties count; all when left
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
     * Taken once from the logits of tokens that occurred in the answer, as in OpenAI's interface; 0
     * changes nothing.
     *
     * @param presencePenalty any number up to a million, below 0 to favour such tokens
     * @return this
     */
    public Builder presencePenalty(double presencePenalty) {
      this.presencePenalty = inRange("presencePenalty", presencePenalty, -LARGEST, LARGEST);
      return this;
    }

    /**
     * Taken from the logits of tokens for each time that they occurred in the answer, as in
     * OpenAI's interface; 0 changes nothing.
     *
     * @param frequencyPenalty any number up to a million, below 0 to favour such tokens
     * @return this
     */
    public Builder frequencyPenalty(double frequencyPenalty) {
      this.frequencyPenalty = inRange("frequencyPenalty", frequencyPenalty, -LARGEST, LARGEST);
      return this;
    }

    /**
     * Taken from the logits of tokens that would repeat a sequence, as "DRY" does; 0 changes
     * nothing, 0.8 is common. No sequence reaches across an end of line, a colon, a quotation mark
     * or an asterisk.
     *
     * @param dryMultiplier at least 0
     * @return this
     */
    public Builder dryMultiplier(double dryMultiplier) {
      this.dryMultiplier = inRange("dryMultiplier", dryMultiplier, 0, LARGEST);
      return this;
    }

    /**
     * By what {@link #dryMultiplier(double)} is multiplied for each token that the repeated
     * sequence is longer than allowed; 1.75 when left out.
     *
     * @param dryBase at least 1
     * @return this
     */
    public Builder dryBase(double dryBase) {
      this.dryBase = inRange("dryBase", dryBase, 1, LARGEST);
      return this;
    }

    /**
     * How many tokens may be repeated before {@link #dryMultiplier(double)} counts; 2 when left
     * out.
     *
     * @param dryAllowedLength at least 1
     * @return this
     */
    public Builder dryAllowedLength(int dryAllowedLength) {
      this.dryAllowedLength = atLeast("dryAllowedLength", 1, dryAllowedLength);
      return this;
    }

    /**
     * Texts that no repeated sequence reaches across. Left out, they are an end of line, a colon, a
     * quotation mark and an asterisk.
     *
     * @param dryBreakers texts, none of them empty
     * @return this
     */
    public Builder dryBreakers(List<String> dryBreakers) {
      if (dryBreakers.contains("")) {
        throw new IllegalArgumentException("dryBreakers: an empty text is in every token");
      }
      this.dryBreakers = List.copyOf(dryBreakers);
      return this;
    }

    /**
     * Never repeat a sequence of this many tokens, those of the prompt included; 0 forbids none.
     *
     * @param noRepeatNgramSize at least 0
     * @return this
     */
    public Builder noRepeatNgramSize(int noRepeatNgramSize) {
      this.noRepeatNgramSize = atLeast("noRepeatNgramSize", 0, noRepeatNgramSize);
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
     * Texts that end the answer and are cut from it, beside those of the model's own file.
     *
     * @param stop texts, none of them empty
     * @return this
     */
    public Builder stop(String... stop) {
      return stop(List.of(stop));
    }

    /**
     * Texts that end the answer and are cut from it, beside those of the model's own file.
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
     * What is added to the logits of tokens before one is chosen: much below zero forbids a token,
     * much above makes sure of it.
     *
     * @param logitBias numbers by token ids, finite in 32 bits
     * @return this
     */
    public Builder logitBias(Map<Integer, Double> logitBias) {
      logitBias.forEach((id, bias) -> {
        atLeast("logitBias", 0, id);
        inRange("logitBias", bias, -Float.MAX_VALUE, Float.MAX_VALUE);
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
     * Whether to use prompt lookup decoding where it is faster (default: true). The tokens that
     * followed the last ones earlier in prompt or answer are tried as a draft in the same pass. It
     * speeds up answers that repeat what was said, such as edits and quotations, and pauses where
     * drafts are not accepted. The answer is the same, sampled ones included. Models with recurrent
     * layers, GPUs and Candle's own models do without it.
     *
     * @param promptLookup whether to
     * @return this
     */
    public Builder promptLookup(boolean promptLookup) {
      this.promptLookup = promptLookup;
      return this;
    }

    /**
     * Whether the model thinks before it answers. A request fails with {@link
     * IllegalArgumentException} where the model's chat template cannot do what this says.
     *
     * @param thinking the setting
     * @return this
     */
    public Builder thinking(Thinking thinking) {
      this.thinking = thinking;
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
      copy.minTokens = minTokens;
      copy.temperature = temperature;
      copy.topK = topK;
      copy.topP = topP;
      copy.minP = minP;
      copy.typicalP = typicalP;
      copy.topNSigma = topNSigma;
      copy.repeatPenalty = repeatPenalty;
      copy.repeatWindow = repeatWindow;
      copy.presencePenalty = presencePenalty;
      copy.frequencyPenalty = frequencyPenalty;
      copy.dryMultiplier = dryMultiplier;
      copy.dryBase = dryBase;
      copy.dryAllowedLength = dryAllowedLength;
      copy.dryBreakers = dryBreakers;
      copy.noRepeatNgramSize = noRepeatNgramSize;
      copy.seed = seed;
      copy.logitBias = logitBias;
      copy.logprobs = logprobs;
      copy.promptLookup = promptLookup;
      copy.thinking = thinking;
      copy.stop = stop;
      copy.ignoreEos = ignoreEos;
      return copy;
    }

    /** What was set, by its name. */
    private Map<String, Object> all() {
      Map<String, Object> all = new LinkedHashMap<>();
      put(all, "maxTokens", maxTokens);
      put(all, "minTokens", minTokens);
      put(all, "temperature", temperature);
      put(all, "topK", topK);
      put(all, "topP", topP);
      put(all, "minP", minP);
      put(all, "typicalP", typicalP);
      put(all, "topNSigma", topNSigma);
      put(all, "repeatPenalty", repeatPenalty);
      put(all, "repeatWindow", repeatWindow);
      put(all, "presencePenalty", presencePenalty);
      put(all, "frequencyPenalty", frequencyPenalty);
      put(all, "dryMultiplier", dryMultiplier);
      put(all, "dryBase", dryBase);
      put(all, "dryAllowedLength", dryAllowedLength);
      put(all, "dryBreakers", dryBreakers);
      put(all, "noRepeatNgramSize", noRepeatNgramSize);
      put(all, "seed", seed);
      put(all, "stop", stop.isEmpty() ? null : stop);
      put(all, "ignoreEos", ignoreEos ? true : null);
      put(all, "logitBias", logitBias.isEmpty() ? null : new TreeMap<>(logitBias));
      put(all, "logprobs", logprobs);
      put(all, "promptLookup", promptLookup ? null : false);
      put(all, "thinking", thinking);
      return all;
    }

    private static void put(Map<String, Object> all, String name, @Nullable Object value) {
      if (value != null) {
        all.put(name, value);
      }
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
