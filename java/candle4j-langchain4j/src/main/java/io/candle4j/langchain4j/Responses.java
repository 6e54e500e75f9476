package io.candle4j.langchain4j;

import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.exception.InternalServerException;
import dev.langchain4j.exception.InvalidRequestException;
import dev.langchain4j.exception.RateLimitException;
import dev.langchain4j.exception.TimeoutException;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.ChatResponseMetadata;
import dev.langchain4j.model.output.FinishReason;
import dev.langchain4j.model.output.TokenUsage;
import io.candle4j.CandleException;
import io.candle4j.ContextFullException;
import io.candle4j.Generation;
import io.candle4j.ModelException;
import io.candle4j.QueueFullException;
import io.candle4j.ToolCall;
import java.util.UUID;

/** The library's answers and errors as LangChain4j's. */
final class Responses {
  private Responses() {}

  static ChatResponse of(Generation generation, String modelName) {
    boolean hasCalls = !generation.toolCalls().isEmpty();
    String text = generation.text();
    AiMessage message =
        AiMessage.builder()
            .text(hasCalls && text.isEmpty() ? null : text)
            .thinking(generation.reasoning().orElse(null))
            .toolExecutionRequests(generation.toolCalls().stream().map(Responses::call).toList())
            .build();
    return ChatResponse.builder()
        .aiMessage(message)
        .metadata(
            ChatResponseMetadata.builder()
                .id("chatcmpl-" + UUID.randomUUID())
                .modelName(modelName)
                .tokenUsage(
                    new TokenUsage(generation.promptTokens(), generation.completionTokens()))
                .finishReason(reason(generation))
                .build())
        .build();
  }

  static ToolExecutionRequest call(ToolCall call) {
    return ToolExecutionRequest.builder()
        .id(call.id())
        .name(call.name())
        .arguments(call.arguments())
        .build();
  }

  private static FinishReason reason(Generation generation) {
    return switch (generation.finishReason()) {
      case STOP, STOP_STRING -> FinishReason.STOP;
      case TOOL_CALLS -> FinishReason.TOOL_EXECUTION;
      case LENGTH, CONTEXT_FULL -> FinishReason.LENGTH;
      case CANCELLED -> FinishReason.OTHER;
      case TIMEOUT -> throw new TimeoutException("the answer took longer than its timeout");
    };
  }

  /** The error that LangChain4j knows for one of the library. */
  static RuntimeException error(RuntimeException error) {
    return switch (error) {
      case ContextFullException e -> new InvalidRequestException(e.getMessage(), e);
      case QueueFullException e -> new RateLimitException(e.getMessage(), e);
      case IllegalArgumentException e -> new InvalidRequestException(e.getMessage(), e);
      // A conversation that the template does not know.
      case ModelException.ChatTemplate e -> new InvalidRequestException(e.getMessage(), e);
      case CandleException e -> new InternalServerException(e.getMessage(), e);
      default -> error;
    };
  }
}
