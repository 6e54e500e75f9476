package io.candle4j.internal;

import com.fasterxml.jackson.annotation.JsonProperty;
import io.candle4j.ChatMessage;
import io.candle4j.EmbedPrompt;
import io.candle4j.GenerateOptions;
import io.candle4j.Quantization;
import io.candle4j.Request;
import io.candle4j.ResponseFormat;
import io.candle4j.Thinking;
import io.candle4j.Tool;
import io.candle4j.ToolChoice;
import java.math.BigInteger;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** Requests as the native side reads them. */
final class Requests {
  private Requests() {}

  /** What to generate from, as one of the three forms. */
  record Prompt(@Nullable Text text, int @Nullable [] tokens, @Nullable Chat chat) {}

  record Text(String text, boolean raw) {}

  record Chat(List<Map<String, Object>> messages, Map<String, Object> variables) {}

  record Options(
      @Nullable Integer maxTokens,
      @Nullable Integer minTokens,
      @Nullable Double temperature,
      @Nullable Integer topK,
      @Nullable Double topP,
      @Nullable Double minP,
      @Nullable Double typicalP,
      // The naming strategy takes single letters for part of the word behind them.
      @JsonProperty("top_n_sigma") @Nullable Double topNSigma,
      @Nullable Double repeatPenalty,
      @Nullable Integer repeatWindow,
      @Nullable Double presencePenalty,
      @Nullable Double frequencyPenalty,
      @Nullable Double dryMultiplier,
      @Nullable Double dryBase,
      @Nullable Integer dryAllowedLength,
      @Nullable List<String> dryBreakers,
      @Nullable Integer noRepeatNgramSize,
      @Nullable BigInteger seed,
      List<String> stop,
      boolean ignoreEos,
      Map<Integer, Double> logitBias,
      @Nullable Integer logprobs,
      boolean promptLookup,
      @Nullable Object thinking,
      @Nullable Long timeoutMs,
      boolean waitWhenFull) {}

  record Generate(
      long call,
      Prompt prompt,
      Options options,
      boolean prepare,
      boolean turn,
      @Nullable Map<String, Object> constraint,
      @Nullable List<ToolDocument> tools,
      @Nullable Object toolChoice) {}

  record ToolDocument(String name, String description, JsonNode parameters) {}

  /** A request for the call of this number, with what is left of its time. */
  static Generate generate(
      long call, Request request, @Nullable Duration timeout, NativeSession.Mode mode) {
    Prompt prompt =
        switch (request.prompt()) {
          case Request.Prompt.Text text when !request.variables().isEmpty() -> {
            Utf8.checkNames("variables", request.variables());
            List<ChatMessage> messages = List.of(ChatMessage.user(text.text()));
            yield new Prompt(null, null, new Chat(messages(messages), request.variables()));
          }
          case Request.Prompt.Text text ->
              new Prompt(new Text(Utf8.check("prompt", text.text()), text.raw()), null, null);
          case Request.Prompt.Tokens tokens -> new Prompt(null, tokens.ids().toIntArray(), null);
          case Request.Prompt.Chat chat -> {
            Utf8.checkNames("variables", request.variables());
            yield new Prompt(null, null, new Chat(messages(chat.messages()), request.variables()));
          }
        };
    return new Generate(
        call,
        prompt,
        options(request.options(), timeout, request.waitWhenFull()),
        mode == NativeSession.Mode.PREPARE,
        mode == NativeSession.Mode.TURN,
        request.responseFormat().map(Requests::constraint).orElse(null),
        request.tools().isEmpty() ? null : request.tools().stream().map(Requests::tool).toList(),
        toolChoice(request.toolChoice()));
  }

  record Score(long call, int[] tokens, int top) {}

  record Batch(List<Generate> requests, @Nullable Integer parallel) {}

  record Render(
      List<Map<String, Object>> messages,
      boolean generationPrompt,
      Map<String, Object> variables) {}

  private static Options options(
      GenerateOptions options, @Nullable Duration timeout, boolean waitWhenFull) {
    return new Options(
        boxed(options.maxTokens()),
        boxed(options.minTokens()),
        boxed(options.temperature()),
        boxed(options.topK()),
        boxed(options.topP()),
        boxed(options.minP()),
        boxed(options.typicalP()),
        boxed(options.topNSigma()),
        boxed(options.repeatPenalty()),
        boxed(options.repeatWindow()),
        boxed(options.presencePenalty()),
        boxed(options.frequencyPenalty()),
        boxed(options.dryMultiplier()),
        boxed(options.dryBase()),
        boxed(options.dryAllowedLength()),
        options.dryBreakers().orElse(null),
        boxed(options.noRepeatNgramSize()),
        options.seed().isPresent() ? unsigned(options.seed().getAsLong()) : null,
        options.stop(),
        options.ignoreEos(),
        options.logitBias(),
        boxed(options.logprobs()),
        options.promptLookup(),
        options.thinking().map(Requests::thinking).orElse(null),
        timeout == null ? null : milliseconds(timeout),
        waitWhenFull);
  }

  private static Map<String, Object> constraint(ResponseFormat format) {
    return switch (format) {
      case ResponseFormat.JsonSchema json ->
          Map.of("json_schema", Json.schema("schema", json.schema()));
      case ResponseFormat.Regex regex -> Map.of("regex", Utf8.check("regex", regex.regex()));
      case ResponseFormat.Lark lark -> Map.of("lark", Utf8.check("grammar", lark.grammar()));
      case ResponseFormat.OneOf oneOf ->
          Map.of("one_of", oneOf.texts().stream().map(t -> Utf8.check("oneOf", t)).toList());
    };
  }

  private static ToolDocument tool(Tool tool) {
    return new ToolDocument(
        Utf8.check("tools", tool.name()),
        Utf8.check("tools", tool.description()),
        Json.schema("tools", tool.parameters()));
  }

  private static Object toolChoice(ToolChoice choice) {
    return choice
        .name()
        .<Object>map(name -> Map.of("name", Utf8.check("toolChoice", name)))
        .orElseGet(() -> choice.mode().name().toLowerCase(Locale.ROOT));
  }

  private static Object thinking(Thinking thinking) {
    if (thinking.budget().isPresent()) {
      return Map.of("budget", thinking.budget().getAsInt());
    }
    return thinking.enabled() ? "on" : "off";
  }

  static List<Map<String, Object>> messages(List<ChatMessage> messages) {
    List<Map<String, Object>> list = new ArrayList<>();
    for (ChatMessage message : messages) {
      Map<String, Object> keys = Messages.forTemplate(message);
      Utf8.check("role", message.role());
      Utf8.check("content", message.text());
      Utf8.checkNames("messages[" + list.size() + "]", keys);
      list.add(keys);
    }
    return list;
  }

  /** Rounded up; what a long has no room for is no limit that matters. */
  private static long milliseconds(Duration time) {
    Duration rounded = time.plusNanos(999_999);
    return rounded.compareTo(Duration.ofMillis(Long.MAX_VALUE)) > 0
        ? Long.MAX_VALUE
        : rounded.toMillis();
  }

  private static BigInteger unsigned(long value) {
    return new BigInteger(Long.toUnsignedString(value));
  }

  private static @Nullable Integer boxed(java.util.OptionalInt value) {
    return value.isPresent() ? value.getAsInt() : null;
  }

  private static @Nullable Double boxed(java.util.OptionalDouble value) {
    return value.isPresent() ? value.getAsDouble() : null;
  }

  record TextOptions(@Nullable Quantization quantize, @Nullable Integer maxTokens) {}

  record Embed(
      List<String> texts,
      List<int[]> tokens,
      Object prompt,
      boolean normalize,
      boolean truncate,
      @Nullable Integer dimensions,
      long call) {}

  /** What is put before texts. */
  static Object prompt(EmbedPrompt prompt) {
    return switch (prompt) {
      case EmbedPrompt.Default() -> "default";
      case EmbedPrompt.Query() -> "query";
      case EmbedPrompt.Document() -> "document";
      case EmbedPrompt.Named(String name) -> Map.of("named", Utf8.check("prompt", name));
      case EmbedPrompt.Text(String text) -> Map.of("text", Utf8.check("prompt", text));
    };
  }

  record Rerank(String query, List<String> documents, @Nullable String instruction, long call) {}
}
