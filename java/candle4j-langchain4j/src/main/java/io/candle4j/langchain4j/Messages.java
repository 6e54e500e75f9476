package io.candle4j.langchain4j;

import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.ChatMessage;
import dev.langchain4j.data.message.Content;
import dev.langchain4j.data.message.SystemMessage;
import dev.langchain4j.data.message.TextContent;
import dev.langchain4j.data.message.ToolExecutionResultMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.exception.UnsupportedFeatureException;
import io.candle4j.ToolCall;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;

/** LangChain4j's messages as the library's. */
final class Messages {
  private Messages() {}

  static List<io.candle4j.ChatMessage> of(Iterable<ChatMessage> messages) {
    List<io.candle4j.ChatMessage> all = new ArrayList<>();
    messages.forEach(message -> all.add(of(message)));
    return all;
  }

  private static io.candle4j.ChatMessage of(ChatMessage message) {
    return switch (message) {
      case SystemMessage system -> new io.candle4j.ChatMessage.System(system.text());
      case UserMessage user -> new io.candle4j.ChatMessage.User(text("a message", user.contents()));
      case AiMessage answer -> assistant(answer);
      case ToolExecutionResultMessage result ->
          new io.candle4j.ChatMessage.ToolResult(
              Objects.requireNonNullElse(result.id(), ""),
              Objects.requireNonNullElse(result.toolName(), ""),
              text("a tool's result", result.contents()));
      default ->
          throw new UnsupportedFeatureException(
              "messages of the type " + message.type() + " are not supported");
    };
  }

  private static io.candle4j.ChatMessage assistant(AiMessage answer) {
    List<ToolCall> calls = new ArrayList<>();
    for (ToolExecutionRequest request : answer.toolExecutionRequests()) {
      String id = request.id() == null ? "call_" + calls.size() : request.id();
      String arguments = request.arguments();
      boolean empty = arguments == null || arguments.isBlank();
      calls.add(new ToolCall(id, request.name(), empty ? "{}" : arguments));
    }
    return new io.candle4j.ChatMessage.Assistant(
        Objects.requireNonNullElse(answer.text(), ""),
        Optional.ofNullable(answer.thinking()),
        calls);
  }

  private static String text(String where, List<Content> contents) {
    StringBuilder text = new StringBuilder();
    for (Content content : contents) {
      if (!(content instanceof TextContent part)) {
        throw new UnsupportedFeatureException(
            "non-text content ("
                + content.type().name().toLowerCase(Locale.ROOT)
                + ") of "
                + where
                + " is not supported: these models read texts");
      }
      if (!text.isEmpty()) {
        text.append('\n');
      }
      text.append(part.text());
    }
    return text.toString();
  }
}
