package io.candle4j.springai;

import io.candle4j.FinishReason;
import io.candle4j.Generation;
import io.candle4j.Token;
import io.candle4j.ToolCall;
import java.util.List;
import java.util.Map;
import org.springframework.ai.chat.messages.AssistantMessage;
import org.springframework.ai.chat.metadata.ChatGenerationMetadata;
import org.springframework.ai.chat.metadata.ChatResponseMetadata;
import org.springframework.ai.chat.metadata.DefaultUsage;
import org.springframework.ai.chat.model.ChatResponse;

/** The library's answers as Spring AI's. */
record Responses(String id, String model) {
  /** A whole answer. */
  ChatResponse whole(Generation generation) {
    return response(
        message(generation.text(), generation.reasoning().orElse(""), generation.toolCalls()),
        end(generation),
        usage(generation));
  }

  /** What became certain with a token. */
  ChatResponse part(Token token) {
    return response(
        message(token.text(), token.reasoning(), token.toolCalls()),
        ChatGenerationMetadata.NULL,
        ChatResponseMetadata.builder());
  }

  /** Behind the last token: why there are no more, and how many there were. */
  ChatResponse last(Generation generation) {
    return response(message("", "", List.of()), end(generation), usage(generation));
  }

  private ChatResponse response(
      AssistantMessage message, ChatGenerationMetadata end, ChatResponseMetadata.Builder about) {
    return new ChatResponse(
        List.of(new org.springframework.ai.chat.model.Generation(message, end)),
        about.id(id).model(model).build());
  }

  private static AssistantMessage message(String text, String thinking, List<ToolCall> calls) {
    return AssistantMessage.builder()
        .content(text)
        .properties(thinking.isEmpty() ? Map.of() : Map.of(Prompts.THINKING, thinking))
        .toolCalls(
            calls.stream()
                .map(call ->
                    new AssistantMessage.ToolCall(
                        call.id(), "function", call.name(), call.arguments()))
                .toList())
        .build();
  }

  private static ChatGenerationMetadata end(Generation generation) {
    return ChatGenerationMetadata.builder().finishReason(reason(generation.finishReason())).build();
  }

  private static String reason(FinishReason reason) {
    return switch (reason) {
      case STOP, STOP_STRING -> "STOP";
      case TOOL_CALLS -> "TOOL_CALLS";
      case LENGTH, CONTEXT_FULL -> "LENGTH";
      case CANCELLED, TIMEOUT -> reason.name();
    };
  }

  private static ChatResponseMetadata.Builder usage(Generation generation) {
    return ChatResponseMetadata.builder()
        .usage(new DefaultUsage(generation.promptTokens(), generation.completionTokens()))
        .keyValue("cached-tokens", generation.cachedTokens())
        .keyValue("seed", generation.seed())
        .keyValue("prefill-duration", generation.timings().prefill())
        .keyValue("decode-duration", generation.timings().decode());
  }
}
