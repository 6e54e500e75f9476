package io.candle4j.cli;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.ChatMessage;
import io.candle4j.GenerateOptions;
import io.candle4j.Generation;
import io.candle4j.ModelInfo;
import io.candle4j.Request;
import io.candle4j.ResponseFormat;
import java.math.BigInteger;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** One prompt, one answer. */
@Command(
    name = "generate",
    description = {
      "Answer a prompt. If the model has a chat template, the prompt becomes a user message.",
      "",
      "Ctrl-C stops the answer: what there is of it is printed, and the exit code is 130."
    })
final class GenerateCommand extends BaseCommand {
  /** How long a text that is piped in beside a prompt may take to begin. */
  private static final Duration WAIT = Duration.ofSeconds(3);

  @Parameters(
      index = "0",
      arity = "0..1",
      paramLabel = "PROMPT",
      description =
          "Prompt. Standard input is appended if piped; - reads the prompt from it, as does leaving the"
              + " prompt out. One line break at its end is dropped.")
  private @Nullable String positional;

  @Option(
      names = {"-p", "--prompt"},
      paramLabel = "TEXT",
      description = "The prompt.")
  private @Nullable String prompt;

  @Option(
      names = "--tokens",
      paramLabel = "1,2,3",
      converter = TokenArgument.Converter.class,
      description = "Prompt as token ids; nothing is added.")
  private @Nullable TokenArgument tokens;

  @Option(names = "--system", paramLabel = "TEXT", description = "System message.")
  private @Nullable String system;

  @Option(names = "--raw", description = "Use the prompt as it is, without the chat template.")
  private boolean raw;

  @Option(
      names = "--schema",
      paramLabel = "FILE.json",
      description = "Answer with a JSON document that this JSON schema describes.")
  private @Nullable Path schema;

  @Option(names = "--json", description = "Print the complete answer as a JSON object.")
  private boolean json;

  @Mixin private ModelOptions models;

  @Mixin private SamplingOptions sampling;

  GenerateCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run() {
    if (Stream.of(positional, prompt, tokens).filter(Objects::nonNull).count() > 1) {
      throw usage("PROMPT, --prompt and --tokens exclude each other");
    }
    if (system != null && (raw || tokens != null)) {
      throw usage("--system needs a chat template, which --raw and --tokens leave out");
    }
    GenerateOptions options = sampling.toOptions();
    @Nullable ResponseFormat format =
        schema == null
            ? null
            : ResponseFormat.jsonSchema(InputFile.json("--schema", schema).toString());
    StandardInput.Extra extra = takesExtra() ? StandardInput.Extra.read(stdio().in()) : null;
    String named = tokens == null ? text() : null;
    try (CandleModel model = models.load(stdio(), interruption());
        CandleSession session = model.newSession()) {
      String text = extra == null ? named : withExtra(Objects.requireNonNull(named), extra);
      Generation generation =
          interruption()
              .during(
                  session::cancel,
                  () ->
                      json
                          ? inOneObject(session, request(text, options, format), model.info())
                          : asText(session, request(text, options, format)));
      stdio().detail(Statistics.of(generation));
    }
    return interruption().isRequested() ? ExitCode.INTERRUPTED : ExitCode.OK;
  }

  /** Whether what is piped in belongs to a prompt that stands on the command line. */
  private boolean takesExtra() {
    boolean named = this.prompt != null || (positional != null && !positional.equals("-"));
    return named && !stdio().inIsTerminal();
  }

  private String withExtra(String prompt, StandardInput.Extra extra) {
    Optional<String> text = extra.text(WAIT);
    if (text.isEmpty()) {
      stdio()
          .warn(
              "standard input is open, but nothing came in "
                  + WAIT.toSeconds()
                  + " s; going on without it (</dev/null says that there is none)");
    }
    return text.filter(t -> !t.isBlank()).map(t -> prompt + "\n\n" + t).orElse(prompt);
  }

  private String text() {
    if (prompt != null) {
      return prompt;
    }
    if (positional != null && !positional.equals("-")) {
      return positional;
    }
    if (positional == null && stdio().inIsTerminal()) {
      throw usage("a prompt is missing");
    }
    return StandardInput.text(stdio().in());
  }

  private Generation asText(CandleSession session, Request request) {
    try (AnswerPrinter printer = new AnswerPrinter(stdio().out())) {
      Generation generation = session.generate(request, printer);
      printer.finish(generation);
      return generation;
    }
  }

  private Generation inOneObject(CandleSession session, Request request, ModelInfo model) {
    Generation generation = session.generate(request);
    stdio().out().println(Json.line(object(generation, model)));
    return generation;
  }

  private Request request(
      @Nullable String text, GenerateOptions options, @Nullable ResponseFormat format) {
    Request.Builder request = Request.builder().options(options);
    if (format != null) {
      request.responseFormat(format);
    }
    if (tokens != null) {
      return request.tokens(tokens.ids()).build();
    }
    Objects.requireNonNull(text);
    if (system != null) {
      return request.messages(ChatMessage.system(system), ChatMessage.user(text)).build();
    }
    return (raw ? request.rawText(text) : request.text(text)).build();
  }

  private static Map<String, Object> object(Generation generation, ModelInfo model) {
    Map<String, Object> object = Json.object("text", generation.text());
    generation.reasoning().ifPresent(reasoning -> object.put("reasoning", reasoning));
    object.putAll(rest(generation, model));
    return object;
  }

  private static Map<String, Object> rest(Generation generation, ModelInfo model) {
    Generation.Timings timings = generation.timings();
    return Json.object(
        "token_ids", generation.tokenIds(),
        "prompt_tokens", generation.promptTokens(),
        "cached_tokens", generation.cachedTokens(),
        "finish_reason", generation.finishReason().name(),
        "seed", new BigInteger(Long.toUnsignedString(generation.seed())),
        "timings",
            Json.object(
                "load_ms", Json.rounded(model.loadTime().toNanos() / 1e6),
                "prefill_ms", Json.rounded(timings.prefill().toNanos() / 1e6),
                "decode_ms", Json.rounded(timings.decode().toNanos() / 1e6),
                "prefill_tokens_per_second", Json.rounded(timings.prefillTokensPerSecond()),
                "decode_tokens_per_second", Json.rounded(timings.decodeTokensPerSecond())),
        "model",
            Json.object(
                "architecture", model.architecture(),
                "device", Json.word(model.device()),
                "precision", model.precision(),
                "engine", Json.word(model.engine())));
  }
}
