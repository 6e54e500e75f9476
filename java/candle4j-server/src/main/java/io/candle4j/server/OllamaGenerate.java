package io.candle4j.server;

import io.candle4j.ChatMessage;
import io.candle4j.FinishReason;
import io.candle4j.Generation;
import io.candle4j.Request;
import io.candle4j.Token;
import io.candle4j.ToolCall;
import java.time.Instant;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** Ollama's {@code /api/chat} and {@code /api/generate}, which differ in where the text stands. */
final class OllamaGenerate {
  private final ServedModels models;
  private final ServerMetrics metrics;

  OllamaGenerate(ServedModels models, ServerMetrics metrics) {
    this.models = models;
    this.metrics = metrics;
  }

  /** Answers a chat. */
  void chat(Exchange exchange) {
    Fields fields = exchange.fields();
    ServedModel served = OllamaFields.model(fields, models);
    JsonNode messages = fields.array("messages");
    if (messages == null) {
      load(exchange, served, true);
      return;
    }
    for (JsonNode message : messages) {
      refuseImages(message.get("images"));
    }
    Request.Builder request = OllamaFields.request(fields);
    request.messages(GenerateFields.messages(fields));
    GenerateFields.tools(fields, request);
    answer(exchange, served, request.build(), true);
  }

  /** Answers a prompt. */
  void generate(Exchange exchange) {
    Fields fields = exchange.fields();
    ServedModel served = OllamaFields.model(fields, models);
    refuseImages(fields.get("images"));
    if (!fields.text("suffix").orElse("").isEmpty()) {
      throw ApiException.unsupported("suffix", "filling in is not supported");
    }
    if (!fields.text("template").orElse("").isEmpty()) {
      throw ApiException.unsupported("template", "the model's own is used; raw leaves it out");
    }
    String prompt = fields.text("prompt").orElse("");
    if (prompt.isEmpty()) {
      load(exchange, served, false);
      return;
    }
    Request.Builder request = OllamaFields.request(fields);
    String system = fields.text("system").orElse("");
    if (fields.flag("raw", false)) {
      request.rawText(prompt);
    } else if (system.isEmpty()) {
      request.text(prompt);
    } else {
      request.messages(ChatMessage.system(system), ChatMessage.user(prompt));
    }
    answer(exchange, served, request.build(), false);
  }

  private static void refuseImages(@Nullable JsonNode images) {
    if (images != null && !images.isEmpty()) {
      throw ApiException.unsupported("images", "these models read text");
    }
  }

  /** A request without a prompt loads the model, or unloads it when it is to be kept no time. */
  private static void load(Exchange exchange, ServedModel served, boolean chat) {
    try (var use = served.use(served.chat(), 1, exchange)) {
      OllamaFields.keepAlive(exchange.fields(), use);
    }
    String reason = OllamaFields.unloads(exchange.fields()) ? "unload" : "load";
    ObjectNode line = line(served, chat, "", List.of(), "");
    exchange.send(line.put("done", true).put("done_reason", reason));
  }

  private void answer(Exchange exchange, ServedModel served, Request request, boolean chat) {
    long begin = System.nanoTime();
    boolean streams = exchange.fields().flag("stream", true);
    try (Generator generator = new Generator(served, 1, metrics, exchange)) {
      OllamaFields.keepAlive(exchange.fields(), generator.use());
      long loaded = System.nanoTime();
      Generation generation =
          generator.generate(
              request,
              token -> {
                if (streams && tells(token)) {
                  exchange.line(
                      line(served, chat, token.text(), token.toolCalls(), token.reasoning())
                          .put("done", false));
                }
                return true;
              });
      ObjectNode last =
          streams
              ? line(served, chat, "", List.of(), "")
              : line(
                  served,
                  chat,
                  generation.text(),
                  generation.toolCalls(),
                  generation.reasoning().orElse(""));
      end(last, generation, loaded - begin, System.nanoTime() - begin);
      if (streams) {
        exchange.line(last);
      } else {
        exchange.send(last);
      }
    }
  }

  private static boolean tells(Token token) {
    return !token.text().isEmpty() || !token.reasoning().isEmpty() || !token.toolCalls().isEmpty();
  }

  private static void end(ObjectNode last, Generation generation, long load, long total) {
    boolean full =
        generation.finishReason() == FinishReason.LENGTH
            || generation.finishReason() == FinishReason.CONTEXT_FULL;
    last.put("done", true)
        .put("done_reason", full ? "length" : "stop")
        .put("total_duration", total)
        .put("load_duration", load)
        .put("prompt_eval_count", generation.promptTokens())
        .put("prompt_eval_duration", generation.timings().prefill().toNanos())
        .put("eval_count", generation.completionTokens())
        .put("eval_duration", generation.timings().decode().toNanos());
  }

  private static ObjectNode line(
      ServedModel served, boolean chat, String text, List<ToolCall> calls, String thinking) {
    ObjectNode line =
        Json.object().put("model", served.name()).put("created_at", Instant.now().toString());
    if (!chat) {
      line.put("response", text);
      return thinking.isEmpty() ? line : line.put("thinking", thinking);
    }
    ObjectNode message = line.putObject("message").put("role", "assistant").put("content", text);
    if (!thinking.isEmpty()) {
      message.put("thinking", thinking);
    }
    if (!calls.isEmpty()) {
      ArrayNode array = message.putArray("tool_calls");
      for (ToolCall call : calls) {
        ObjectNode function = array.addObject().putObject("function").put("name", call.name());
        function.set("arguments", Json.parsedOrText(call.arguments()));
      }
    }
    return line;
  }
}
