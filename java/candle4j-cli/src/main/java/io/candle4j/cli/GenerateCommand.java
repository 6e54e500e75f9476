package io.candle4j.cli;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.ChatMessage;
import io.candle4j.Generation;
import io.candle4j.ModelInfo;
import io.candle4j.Request;
import io.candle4j.ResponseFormat;
import io.candle4j.Token;
import io.candle4j.Tool;
import io.candle4j.ToolCall;
import io.candle4j.ToolChoice;
import java.math.BigInteger;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
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

  @Option(
      names = "--system",
      paramLabel = "TEXT|@FILE",
      converter = SystemText.class,
      description = "System message.")
  private @Nullable String system;

  @Option(names = "--raw", description = "Use the prompt as it is, without the chat template.")
  private boolean raw;

  @Option(
      names = "--schema",
      paramLabel = "FILE.json",
      description = "Answer with a JSON document that this JSON schema describes.")
  private @Nullable Path schema;

  @Option(
      names = "--messages",
      paramLabel = "FILE.json",
      description = "Prompt as a JSON array of messages in the form of OpenAI's API.")
  private @Nullable Path messages;

  @Option(
      names = "--tools",
      paramLabel = "FILE.json",
      description =
          "Functions that the model may call, as a JSON array in the form of OpenAI's API. Its calls"
              + " are printed as JSON, one a line, behind the answer.")
  private @Nullable Path tools;

  @Option(
      names = "--tool-choice",
      paramLabel = "auto|required|none|NAME",
      converter = ToolChoiceConverter.class,
      description = "Let the model call tools, or make it call one, or this one (default: auto).")
  private @Nullable ToolChoice toolChoice;

  @Option(names = "--json", description = "Print the complete answer as a JSON object.")
  private boolean json;

  @Option(
      names = "--ndjson",
      description =
          "Print the answer while it is generated, as JSON objects, one a line, with a type: text,"
              + " reasoning, tool_call, and at last end, which has what --json prints.")
  private boolean ndjson;

  @Mixin private ModelOptions models;

  @Mixin private SamplingOptions sampling;

  /** Reads a mode or the name of a tool. */
  static final class ToolChoiceConverter implements ITypeConverter<ToolChoice> {
    @Override
    public ToolChoice convert(String text) {
      return switch (text) {
        case "auto" -> ToolChoice.AUTO;
        case "required" -> ToolChoice.REQUIRED;
        case "none" -> ToolChoice.NONE;
        default -> ToolChoice.of(text);
      };
    }
  }

  GenerateCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run() {
    if (Stream.of(positional, prompt, tokens, messages).filter(Objects::nonNull).count() > 1) {
      throw usage("PROMPT, --prompt, --tokens and --messages exclude each other");
    }
    if (json && ndjson) {
      throw usage("--json and --ndjson exclude each other");
    }
    if (messages != null && (raw || system != null)) {
      throw usage("--messages excludes --raw and --system");
    }
    if (toolChoice != null && tools == null) {
      throw usage("--tool-choice needs --tools");
    }
    if (system != null && (raw || tokens != null)) {
      throw usage("--system needs a chat template, which --raw and --tokens leave out");
    }
    Request.Builder request = Request.builder().options(sampling.toOptions());
    read(request);
    StandardInput.Extra extra = takesExtra() ? StandardInput.Extra.read(stdio().in()) : null;
    String named = tokens == null && messages == null ? text() : null;
    try (CandleModel model = models.load(stdio(), interruption());
        CandleSession session = model.newSession()) {
      if (named != null) {
        prompt(request, extra == null ? named : withExtra(named, extra));
      }
      Request all = request.build();
      Generation generation =
          interruption()
              .during(
                  session::cancel,
                  () -> {
                    if (json) {
                      return inOneObject(session, all, model.info());
                    }
                    return ndjson ? inLines(session, all, model.info()) : asText(session, all);
                  });
      if (!json && !ndjson) {
        Statistics.cut(generation).ifPresent(stdio()::note);
      }
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
      generation.toolCalls().forEach(call -> stdio().out().println(Json.line(object(call))));
      return generation;
    }
  }

  private Generation inLines(CandleSession session, Request request, ModelInfo model) {
    Generation generation = session.generate(request, this::printLines);
    line("end", object(generation, model));
    return generation;
  }

  private void printLines(Token token) {
    if (!token.reasoning().isEmpty()) {
      line("reasoning", Json.object("text", token.reasoning()));
    }
    if (!token.text().isEmpty()) {
      line("text", Json.object("text", token.text()));
    }
    token.toolCalls().forEach(call -> line("tool_call", object(call)));
  }

  private void line(String type, Map<String, Object> rest) {
    Map<String, Object> line = Json.object("type", type);
    line.putAll(rest);
    stdio().out().println(Json.line(line));
  }

  private Generation inOneObject(CandleSession session, Request request, ModelInfo model) {
    Generation generation = session.generate(request);
    stdio().out().println(Json.line(object(generation, model)));
    return generation;
  }

  /** What files and options say of the request. */
  private void read(Request.Builder request) {
    if (schema != null) {
      String text = InputFile.json("--schema", schema).toString();
      request.responseFormat(ResponseFormat.jsonSchema(text));
    }
    if (messages != null) {
      request.messages(parsed("--messages", messages, ChatMessage::parse));
    }
    if (tokens != null) {
      request.tokens(tokens.ids());
    }
    if (tools != null) {
      request.tools(parsed("--tools", tools, Tool::parse));
    }
    if (toolChoice != null) {
      request.toolChoice(toolChoice);
    }
  }

  private static <T> T parsed(String option, Path file, Function<String, T> parser) {
    try {
      return parser.apply(InputFile.text(option, file));
    } catch (IllegalArgumentException e) {
      throw InputFile.failure(option, file, Failures.message(e), e);
    }
  }

  private void prompt(Request.Builder request, String text) {
    if (system != null) {
      request.messages(ChatMessage.system(system), ChatMessage.user(text));
    } else if (raw) {
      request.rawText(text);
    } else {
      request.text(text);
    }
  }

  private static Map<String, Object> object(Generation generation, ModelInfo model) {
    Map<String, Object> object =
        Json.object(
            "text", generation.text(),
            "reasoning", generation.reasoning().orElse(null),
            "tool_calls", generation.toolCalls().stream().map(GenerateCommand::object).toList());
    object.putAll(rest(generation, model));
    return object;
  }

  /** A call of a tool. */
  static Map<String, Object> object(ToolCall call) {
    return Json.object("id", call.id(), "name", call.name(), "arguments", call.arguments());
  }

  private static Map<String, Object> rest(Generation generation, ModelInfo model) {
    Generation.Timings timings = generation.timings();
    return Json.object(
        "token_ids", generation.tokenIds(),
        "prompt_tokens", generation.promptTokens(),
        "cached_tokens", generation.cachedTokens(),
        "finish_reason", Json.word(generation.finishReason()),
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
