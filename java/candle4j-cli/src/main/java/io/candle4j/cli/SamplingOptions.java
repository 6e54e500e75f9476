package io.candle4j.cli;

import io.candle4j.GenerateOptions;
import io.candle4j.Thinking;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import picocli.CommandLine.Spec.Target;
import picocli.CommandLine.TypeConversionException;

/** How tokens are chosen. What is left out is the model's own choice. */
final class SamplingOptions {
  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      description =
          "Maximum number of tokens to generate (default: the model's own limit, else 2048).")
  private @Nullable Integer maxTokens;

  @Option(
      names = "--min-tokens",
      paramLabel = "N",
      description = "Minimum number of tokens to generate.")
  private @Nullable Integer minTokens;

  @Option(
      names = "--temperature",
      paramLabel = "T",
      description = "Sampling temperature; 0 is greedy.")
  private @Nullable Double temperature;

  @Option(
      names = "--top-k",
      paramLabel = "K",
      description = "Sample from the K most probable tokens; 0 disables.")
  private @Nullable Integer topK;

  @Option(
      names = "--top-p",
      paramLabel = "P",
      description = "Sample from the fewest tokens whose probabilities sum to P; 1 disables.")
  private @Nullable Double topP;

  @Option(
      names = "--min-p",
      paramLabel = "P",
      description = "Drop tokens less probable than P times the most probable one; 0 disables.")
  private @Nullable Double minP;

  @Option(
      names = "--typical-p",
      paramLabel = "P",
      description = "Locally typical sampling with probability mass P; 1 disables.")
  private @Nullable Double typicalP;

  @Option(
      names = "--top-n-sigma",
      paramLabel = "N",
      description =
          "Sample from tokens within N standard deviations of the best logit; 0 disables.")
  private @Nullable Double topNSigma;

  @Option(
      names = "--repeat-penalty",
      paramLabel = "R",
      description = "Repetition penalty; 1 disables.")
  private @Nullable Double repeatPenalty;

  @Option(
      names = "--repeat-window",
      paramLabel = "N",
      description = "Number of last tokens that penalties count (default: all).")
  private @Nullable Integer repeatWindow;

  @Option(
      names = "--presence-penalty",
      paramLabel = "X",
      description = "Presence penalty; 0 disables.")
  private @Nullable Double presencePenalty;

  @Option(
      names = "--frequency-penalty",
      paramLabel = "X",
      description = "Frequency penalty; 0 disables.")
  private @Nullable Double frequencyPenalty;

  @Option(
      names = "--dry-multiplier",
      paramLabel = "X",
      description = "DRY multiplier, against repeated sequences; 0 disables, 0.8 is common.")
  private @Nullable Double dryMultiplier;

  @Option(names = "--dry-base", paramLabel = "X", description = "DRY base (default: 1.75).")
  private @Nullable Double dryBase;

  @Option(
      names = "--dry-allowed-length",
      paramLabel = "N",
      description = "Length of sequences that DRY allows (default: 2).")
  private @Nullable Integer dryAllowedLength;

  @Option(
      names = "--dry-breaker",
      paramLabel = "STR",
      description =
          "Text that no repeated sequence reaches across; may be given several times. An end of"
              + " line, a colon, a quotation mark and an asterisk when left out.")
  private @Nullable List<String> dryBreakers;

  @Option(
      names = "--no-repeat-ngram-size",
      paramLabel = "N",
      description = "Never repeat a sequence of N tokens; 0 disables.")
  private @Nullable Integer noRepeatNgramSize;

  @Option(
      names = "--seed",
      paramLabel = "S",
      converter = Seed.class,
      description = "Random seed, to reproduce an answer.")
  private @Nullable Long seed;

  @Option(
      names = "--stop",
      paramLabel = "STR",
      description = "Stop text, which ends the answer; may be repeated.")
  private @Nullable List<String> stop;

  @Option(
      names = "--thinking",
      paramLabel = "on|off|N",
      converter = ThinkingConverter.class,
      description = "Let the model think before it answers, or not, or for at most N tokens.")
  private @Nullable Thinking thinking;

  @Option(names = "--ignore-eos", description = "Ignore end-of-sequence tokens.")
  private boolean ignoreEos;

  @Option(
      names = "--no-prompt-lookup",
      description =
          "Disable prompt lookup decoding, which speeds up answers that repeat the prompt or"
              + " themselves. The answer is the same.")
  private boolean noPromptLookup;

  @Spec(Target.MIXEE)
  private CommandSpec command;

  /** Reads {@code on}, {@code off} and numbers of tokens. */
  static final class ThinkingConverter implements ITypeConverter<Thinking> {
    @Override
    public Thinking convert(String text) {
      return switch (text) {
        case "on" -> Thinking.ON;
        case "off" -> Thinking.OFF;
        default -> {
          try {
            yield Thinking.budget(Integer.parseInt(text));
          } catch (IllegalArgumentException e) {
            throw new TypeConversionException(
                "expected on, off or a number of tokens, got '" + text + "'");
          }
        }
      };
    }
  }

  /**
   * The options for the library.
   *
   * @throws ParameterException that names the option whose value is out of range
   */
  GenerateOptions toOptions() {
    return over(GenerateOptions.defaults());
  }

  /**
   * These options, and where they say nothing, others.
   *
   * @throws ParameterException that names the option whose value is out of range
   */
  GenerateOptions over(GenerateOptions others) {
    GenerateOptions.Builder options = others.toBuilder();
    set("--max-tokens", maxTokens, options::maxTokens);
    set("--min-tokens", minTokens, options::minTokens);
    set("--temperature", temperature, options::temperature);
    set("--top-k", topK, options::topK);
    set("--top-p", topP, options::topP);
    set("--min-p", minP, options::minP);
    set("--typical-p", typicalP, options::typicalP);
    set("--top-n-sigma", topNSigma, options::topNSigma);
    set("--repeat-penalty", repeatPenalty, options::repeatPenalty);
    set("--repeat-window", repeatWindow, options::repeatWindow);
    set("--presence-penalty", presencePenalty, options::presencePenalty);
    set("--frequency-penalty", frequencyPenalty, options::frequencyPenalty);
    set("--dry-multiplier", dryMultiplier, options::dryMultiplier);
    set("--dry-base", dryBase, options::dryBase);
    set("--dry-allowed-length", dryAllowedLength, options::dryAllowedLength);
    set("--dry-breaker", dryBreakers, options::dryBreakers);
    set("--no-repeat-ngram-size", noRepeatNgramSize, options::noRepeatNgramSize);
    set("--seed", seed, options::seed);
    set("--stop", stop, options::stop);
    if (thinking != null) {
      options.thinking(thinking);
    }
    if (ignoreEos) {
      options.ignoreEos(true);
    }
    if (noPromptLookup) {
      options.promptLookup(false);
    }
    return options.build();
  }

  private <T> void set(
      String name,
      @Nullable T value,
      java.util.function.Function<T, GenerateOptions.Builder> setter) {
    if (value == null) {
      return;
    }
    try {
      var unused = setter.apply(value);
    } catch (IllegalArgumentException e) {
      // The library's message begins with its own name of the option.
      String message = Objects.requireNonNull(e.getMessage());
      throw new ParameterException(
          command.commandLine(), name + message.substring(message.indexOf(':')), e);
    }
  }

  /** A seed is an unsigned number of 64 bits. */
  private static final class Seed implements ITypeConverter<Long> {
    @Override
    public Long convert(String text) {
      try {
        return text.startsWith("-") ? Long.parseLong(text) : Long.parseUnsignedLong(text);
      } catch (NumberFormatException e) {
        throw new TypeConversionException("'" + text + "' is not a whole number of 64 bits");
      }
    }
  }
}
