package io.candle4j.langchain4j;

import dev.langchain4j.agent.tool.ToolSpecification;
import dev.langchain4j.exception.UnsupportedFeatureException;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.request.ChatRequestParameters;
import dev.langchain4j.model.chat.request.ResponseFormat;
import dev.langchain4j.model.chat.request.ResponseFormatType;
import io.candle4j.GenerateOptions;
import io.candle4j.Request;
import io.candle4j.Tool;
import io.candle4j.ToolChoice;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** LangChain4j's requests as the library's. */
final class Requests {
  private Requests() {}

  /** Refuses another model than the adapter's own. */
  static void check(ChatRequestParameters parameters, String modelName) {
    if (parameters.modelName() != null && !parameters.modelName().equals(modelName)) {
      throw new UnsupportedFeatureException(
          "the modelName "
              + parameters.modelName()
              + " is not supported: this adapter has the one model "
              + modelName);
    }
  }

  /** The request, or LangChain4j's error for one that is none. */
  static Request of(ChatRequest chat, ChatSettings settings) {
    try {
      return translated(chat, settings);
    } catch (RuntimeException e) {
      throw Responses.error(e);
    }
  }

  private static Request translated(ChatRequest chat, ChatSettings settings) {
    ChatRequestParameters parameters = chat.parameters();
    check(parameters, settings.modelName());
    GenerateOptions options =
        parameters instanceof CandleChatRequestParameters own
            ? own.options().orElse(settings.options())
            : settings.options();
    Request.Builder request =
        Request.builder()
            .messages(Messages.of(chat.messages()))
            .options(options(parameters, options));
    List<ToolSpecification> tools = parameters.toolSpecifications();
    boolean hasTools = tools != null && !tools.isEmpty();
    if (hasTools) {
      request.tools(tools.stream().map(Requests::tool).toList()).toolChoice(choice(parameters));
    } else if (parameters.toolChoice() == dev.langchain4j.model.chat.request.ToolChoice.REQUIRED) {
      throw new UnsupportedFeatureException(
          "the tool choice REQUIRED without tools is not supported");
    }
    io.candle4j.ResponseFormat format = format(parameters.responseFormat());
    if (format != null && hasTools) {
      throw new UnsupportedFeatureException(
          "tools and a JSON response format in one request are not supported");
    }
    if (format != null) {
      request.responseFormat(format);
    }
    return request.build();
  }

  private static GenerateOptions options(
      ChatRequestParameters parameters, GenerateOptions options) {
    GenerateOptions.Builder builder = options.toBuilder();
    if (parameters.temperature() != null) {
      builder.temperature(parameters.temperature());
    }
    if (parameters.topP() != null) {
      builder.topP(parameters.topP());
    }
    if (parameters.topK() != null) {
      builder.topK(parameters.topK());
    }
    if (parameters.frequencyPenalty() != null) {
      builder.frequencyPenalty(parameters.frequencyPenalty());
    }
    if (parameters.presencePenalty() != null) {
      builder.presencePenalty(parameters.presencePenalty());
    }
    if (parameters.maxOutputTokens() != null) {
      builder.maxTokens(parameters.maxOutputTokens());
    }
    if (parameters.stopSequences() != null && !parameters.stopSequences().isEmpty()) {
      builder.stop(parameters.stopSequences());
    }
    return builder.build();
  }

  private static Tool tool(ToolSpecification tool) {
    return Tool.of(
        tool.name(),
        Objects.requireNonNullElse(tool.description(), ""),
        Schemas.json(tool.parameters()));
  }

  private static ToolChoice choice(ChatRequestParameters parameters) {
    if (parameters.toolChoice() == null) {
      return ToolChoice.AUTO;
    }
    return switch (parameters.toolChoice()) {
      case AUTO -> ToolChoice.AUTO;
      case REQUIRED -> ToolChoice.REQUIRED;
      case NONE -> ToolChoice.NONE;
    };
  }

  private static io.candle4j.@Nullable ResponseFormat format(@Nullable ResponseFormat format) {
    if (format == null || format.type() == ResponseFormatType.TEXT) {
      return null;
    }
    String schema =
        format.jsonSchema() == null
            ? "{\"type\":\"object\"}"
            : Schemas.json(format.jsonSchema().rootElement());
    return new io.candle4j.ResponseFormat.JsonSchema(schema);
  }
}
