package io.candle4j.server;

import io.candle4j.Generation;
import io.candle4j.ToolCall;
import java.time.Instant;
import java.util.List;
import java.util.UUID;
import tools.jackson.databind.node.ObjectNode;

/** What OpenAI's responses to chats and completions share. */
record OpenAiAnswer(String id, String model, long created) {
  static OpenAiAnswer of(String prefix, String model) {
    String id = prefix + UUID.randomUUID().toString().replace("-", "");
    return new OpenAiAnswer(id, model, Instant.now().getEpochSecond());
  }

  /** A document of this response. */
  ObjectNode object(String type) {
    return Json.object()
        .put("id", id)
        .put("object", type)
        .put("created", created)
        .put("model", model)
        .put("system_fingerprint", "candle4j");
  }

  /** Why an answer ended. One that was ended behind its only call waits for the tool. */
  static String finishReason(Generation generation) {
    if (!generation.toolCalls().isEmpty()) {
      return "tool_calls";
    }
    return switch (generation.finishReason()) {
      case STOP, STOP_STRING, TOOL_CALLS -> "stop";
      case LENGTH, CONTEXT_FULL, CANCELLED, TIMEOUT -> "length";
    };
  }

  /** The tokens of all answers to a prompt. */
  static ObjectNode usage(List<Generation> answers) {
    Generation first = answers.getFirst();
    int completion = answers.stream().mapToInt(Generation::completionTokens).sum();
    ObjectNode usage =
        Json.object()
            .put("prompt_tokens", first.promptTokens())
            .put("completion_tokens", completion)
            .put("total_tokens", first.promptTokens() + completion);
    usage.putObject("prompt_tokens_details").put("cached_tokens", first.cachedTokens());
    return usage;
  }

  /** A call of a tool. */
  static ObjectNode toolCall(ToolCall call) {
    ObjectNode object = Json.object().put("id", call.id()).put("type", "function");
    object.putObject("function").put("name", call.name()).put("arguments", call.arguments());
    return object;
  }
}
