package io.candle4j.cli;

import io.candle4j.GenerateOptions;
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
      description = "The most tokens to generate; the model's own limit or 2048 when left out.")
  private @Nullable Integer maxTokens;

  @Option(names = "--min-tokens", paramLabel = "N", description = "No end before N tokens.")
  private @Nullable Integer minTokens;

  @Option(
      names = "--temperature",
      paramLabel = "T",
      description = "0 takes the most probable token each time, 1 draws by their probabilities.")
  private @Nullable Double temperature;

  @Option(
      names = "--top-k",
      paramLabel = "K",
      description = "Draw among the K most probable tokens; 0 means all.")
  private @Nullable Integer topK;

  @Option(
      names = "--top-p",
      paramLabel = "P",
      description = "Draw among the fewest tokens whose probabilities sum to P.")
  private @Nullable Double topP;

  @Option(
      names = "--min-p",
      paramLabel = "P",
      description = "Leave out tokens less probable than P times the most probable one.")
  private @Nullable Double minP;

  @Option(
      names = "--typical-p",
      paramLabel = "P",
      description =
          "Draw among the tokens nearest to what is expected, whose probabilities sum to P.")
  private @Nullable Double typicalP;

  @Option(
      names = "--top-n-sigma",
      paramLabel = "N",
      description = "Draw among tokens within N standard deviations of the best one; 0 means all.")
  private @Nullable Double topNSigma;

  @Option(
      names = "--repeat-penalty",
      paramLabel = "R",
      description = "Make tokens that occurred less probable; 1 changes nothing.")
  private @Nullable Double repeatPenalty;

  @Option(
      names = "--repeat-window",
      paramLabel = "N",
      description = "How many of the last tokens the penalties count; all when left out.")
  private @Nullable Integer repeatWindow;

  @Option(
      names = "--presence-penalty",
      paramLabel = "X",
      description = "Make tokens that occurred in the answer less probable, once each.")
  private @Nullable Double presencePenalty;

  @Option(
      names = "--frequency-penalty",
      paramLabel = "X",
      description = "Make tokens that occurred in the answer less probable, for each time.")
  private @Nullable Double frequencyPenalty;

  @Option(
      names = "--dry-multiplier",
      paramLabel = "X",
      description = "Make tokens that would repeat a sequence less probable (DRY); 0.8 is common.")
  private @Nullable Double dryMultiplier;

  @Option(
      names = "--dry-base",
      paramLabel = "X",
      description = "By what that grows with each token of the sequence; 1.75 when left out.")
  private @Nullable Double dryBase;

  @Option(
      names = "--dry-allowed-length",
      paramLabel = "N",
      description = "How many tokens may be repeated for nothing; 2 when left out.")
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
      description = "Never repeat a sequence of N tokens.")
  private @Nullable Integer noRepeatNgramSize;

  @Option(
      names = "--seed",
      paramLabel = "S",
      converter = Seed.class,
      description = "Start of the random sequence, to get the same answer again.")
  private @Nullable Long seed;

  @Option(
      names = "--stop",
      paramLabel = "STR",
      description = "End the answer before this text; may be given several times.")
  private List<String> stop = List.of();

  @Option(names = "--ignore-eos", description = "Go on where the model wants to end.")
  private boolean ignoreEos;

  @Spec(Target.MIXEE)
  private CommandSpec command;

  /**
   * The options for the library.
   *
   * @param raw whether prompts are taken as they stand
   * @throws ParameterException that names the option whose value is out of range
   */
  GenerateOptions toOptions(boolean raw) {
    GenerateOptions.Builder options = GenerateOptions.builder();
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
    return options.ignoreEos(ignoreEos).raw(raw).build();
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
