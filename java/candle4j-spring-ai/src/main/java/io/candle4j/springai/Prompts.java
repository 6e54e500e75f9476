package io.candle4j.springai;

import io.candle4j.ChatMessage;
import io.candle4j.Request;
import io.candle4j.ResponseFormat;
import io.candle4j.Tool;
import io.candle4j.ToolCall;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.chat.messages.AssistantMessage;
import org.springframework.ai.chat.messages.Message;
import org.springframework.ai.chat.messages.SystemMessage;
import org.springframework.ai.chat.messages.ToolResponseMessage;
import org.springframework.ai.chat.messages.UserMessage;
import org.springframework.ai.chat.prompt.Prompt;
import org.springframework.ai.tool.ToolCallback;
import org.springframework.ai.tool.definition.ToolDefinition;

/** Spring AI's prompts as the library's requests. */
final class Prompts {
  /** Where a message keeps what the model thought before it. */
  static final String THINKING = "thinking";

  private Prompts() {}

  static Request request(Prompt prompt, CandleChatOptions options) {
    Request.Builder request =
        Request.builder()
            .messages(prompt.getInstructions().stream().flatMap(Prompts::messages).toList())
            .options(options.toOptions());
    List<ToolCallback> tools = options.getToolCallbacks();
    if (tools != null && !tools.isEmpty()) {
      request.tools(tools.stream().map(tool -> tool(tool.getToolDefinition())).toList());
    }
    if (options.getOutputSchema() != null) {
      request.responseFormat(ResponseFormat.jsonSchema(options.getOutputSchema()));
    }
    return request.build();
  }

  private static Tool tool(ToolDefinition definition) {
    return Tool.of(definition.name(), definition.description(), definition.inputSchema());
  }

  private static Stream<ChatMessage> messages(Message message) {
    return switch (message) {
      case UserMessage user -> {
        if (!user.getMedia().isEmpty()) {
          throw new IllegalArgumentException(
              "messages: expected text, which is all that these models read");
        }
        yield Stream.of(ChatMessage.user(text(user)));
      }
      case SystemMessage system -> Stream.of(ChatMessage.system(text(system)));
      case AssistantMessage assistant ->
          Stream.of(
              new ChatMessage.Assistant(
                  text(assistant),
                  Optional.ofNullable(assistant.getMetadata().get(THINKING))
                      .filter(String.class::isInstance)
                      .map(String.class::cast),
                  assistant.getToolCalls().stream().map(Prompts::call).toList()));
      case ToolResponseMessage results ->
          results.getResponses().stream()
              .map(result ->
                  new ChatMessage.ToolResult(
                      orEmpty(result.id()),
                      orEmpty(result.name()),
                      orEmpty(result.responseData())));
      default ->
          throw new IllegalArgumentException(
              "messages: expected one of Spring AI's four kinds, got "
                  + message.getClass().getName());
    };
  }

  private static ToolCall call(AssistantMessage.ToolCall call) {
    String arguments = orEmpty(call.arguments());
    return new ToolCall(orEmpty(call.id()), call.name(), arguments.isBlank() ? "{}" : arguments);
  }

  private static String text(Message message) {
    return orEmpty(message.getText());
  }

  /** Messages that an application makes itself may lack what Spring AI's own have. */
  private static String orEmpty(@Nullable String text) {
    return text == null ? "" : text;
  }
}
