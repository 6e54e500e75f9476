package io.candle4j.internal;

import io.candle4j.ChatMessage;
import io.candle4j.ToolCall;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Messages as JSON: for chat templates, and in the form of OpenAI's API. */
public final class Messages {
  private static final JsonMapper MAPPER = JsonMapper.builder().build();

  private Messages() {}

  /** A message with the keys that chat templates read; arguments of tool calls are objects. */
  static Map<String, Object> forTemplate(ChatMessage message) {
    return map(message, Messages::argumentsObject);
  }

  /**
   * Writes messages.
   *
   * @param messages the messages
   * @return a JSON array
   */
  public static String write(List<ChatMessage> messages) {
    return MAPPER
        .writerWithDefaultPrettyPrinter()
        .writeValueAsString(
            messages.stream().map(message -> map(message, arguments -> arguments)).toList());
  }

  private interface Arguments {
    Object of(String json);
  }

  private static Map<String, Object> map(ChatMessage message, Arguments arguments) {
    Map<String, Object> keys = new LinkedHashMap<>();
    keys.put("role", message.role());
    switch (message) {
      case ChatMessage.System system -> keys.put("content", system.text());
      case ChatMessage.User user -> keys.put("content", user.text());
      case ChatMessage.Assistant assistant -> {
        keys.put("content", assistant.text());
        assistant.reasoning().ifPresent(text -> keys.put("reasoning_content", text));
        if (!assistant.toolCalls().isEmpty()) {
          keys.put(
              "tool_calls",
              assistant.toolCalls().stream().map(call -> toolCall(call, arguments)).toList());
        }
      }
      case ChatMessage.ToolResult result -> {
        keys.put("content", result.text());
        if (!result.callId().isEmpty()) {
          keys.put("tool_call_id", result.callId());
        }
        if (!result.name().isEmpty()) {
          keys.put("name", result.name());
        }
      }
      case ChatMessage.Other other -> {
        if (other.content() != null) {
          keys.put("content", other.content());
        }
        keys.putAll(other.more());
      }
    }
    return keys;
  }

  private static Map<String, Object> toolCall(ToolCall call, Arguments arguments) {
    Map<String, Object> function = new LinkedHashMap<>();
    function.put("name", call.name());
    function.put("arguments", arguments.of(call.arguments()));
    Map<String, Object> keys = new LinkedHashMap<>();
    keys.put("id", call.id());
    keys.put("type", "function");
    keys.put("function", function);
    return keys;
  }

  /** Arguments as templates expect them; as they stand when they are no JSON object. */
  private static Object argumentsObject(String json) {
    try {
      JsonNode tree = MAPPER.readTree(json);
      return tree.isObject() ? MAPPER.convertValue(tree, Map.class) : json;
    } catch (JacksonException e) {
      return json;
    }
  }

  /**
   * Reads messages.
   *
   * @param json a JSON array
   * @return the messages
   * @throws IllegalArgumentException that names the place of what is wrong
   */
  public static List<ChatMessage> parse(String json) {
    JsonNode document;
    try {
      document = MAPPER.readTree(json);
    } catch (JacksonException e) {
      throw new IllegalArgumentException("messages: not JSON: " + e.getOriginalMessage(), e);
    }
    if (!document.isArray()) {
      throw wrong("messages", "expected an array");
    }
    List<ChatMessage> messages = new ArrayList<>();
    for (JsonNode message : document) {
      messages.add(message("messages[" + messages.size() + "]", message));
    }
    return messages;
  }

  private static ChatMessage message(String place, JsonNode message) {
    if (!message.isObject()) {
      throw wrong(place, "expected an object");
    }
    String role = text(place + ".role", message.get("role"));
    if (role == null) {
      throw wrong(place + ".role", "expected a text");
    }
    String content = content(place + ".content", message.get("content"));
    if (content == null && !message.has("tool_calls")) {
      throw wrong(place + ".content", "expected a text");
    }
    Set<String> keys =
        message.properties().stream()
            .map(Map.Entry::getKey)
            .collect(java.util.stream.Collectors.toSet());
    keys.remove("role");
    keys.remove("content");
    switch (role) {
      case "system" -> {
        if (content != null && keys.isEmpty()) {
          return ChatMessage.system(content);
        }
      }
      case "user" -> {
        if (content != null && keys.isEmpty()) {
          return ChatMessage.user(content);
        }
      }
      case "assistant" -> {
        String reasoning = text(place + ".reasoning_content", message.get("reasoning_content"));
        List<ToolCall> calls = toolCalls(place + ".tool_calls", message.get("tool_calls"));
        keys.remove("reasoning_content");
        keys.remove("tool_calls");
        if (keys.isEmpty()) {
          return new ChatMessage.Assistant(
              content == null ? "" : content, Optional.ofNullable(reasoning), calls);
        }
      }
      case "tool" -> {
        String id = text(place + ".tool_call_id", message.get("tool_call_id"));
        String name = text(place + ".name", message.get("name"));
        keys.remove("tool_call_id");
        keys.remove("name");
        if (content != null && keys.isEmpty()) {
          return new ChatMessage.ToolResult(
              id == null ? "" : id, name == null ? "" : name, content);
        }
      }
      default -> {}
    }
    Map<String, Object> more = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : message.properties()) {
      if (!entry.getKey().equals("role") && !entry.getKey().equals("content")) {
        more.put(entry.getKey(), MAPPER.convertValue(entry.getValue(), Object.class));
      }
    }
    return new ChatMessage.Other(role, content, more);
  }

  private static @Nullable String content(String place, @Nullable JsonNode content) {
    if (content == null || !content.isArray()) {
      return text(place, content);
    }
    StringBuilder text = new StringBuilder();
    int index = 0;
    for (JsonNode part : content) {
      String at = place + "[" + index++ + "]";
      JsonNode type = part.get("type");
      if (type != null && (!type.isString() || !type.stringValue().equals("text"))) {
        throw wrong(at + ".type", "expected text, which is all that these models read");
      }
      String words = text(at + ".text", part.get("text"));
      if (words == null) {
        throw wrong(at + ".text", "expected a text");
      }
      text.append(words);
    }
    return text.toString();
  }

  private static List<ToolCall> toolCalls(String place, @Nullable JsonNode calls) {
    List<ToolCall> list = new ArrayList<>();
    if (calls == null || calls.isNull()) {
      return list;
    }
    if (!calls.isArray()) {
      throw wrong(place, "expected an array");
    }
    for (JsonNode call : calls) {
      String at = place + "[" + list.size() + "]";
      JsonNode function = call.get("function");
      if (function == null || !function.isObject()) {
        throw wrong(at + ".function", "expected an object");
      }
      String name = text(at + ".function.name", function.get("name"));
      if (name == null) {
        throw wrong(at + ".function.name", "expected a text");
      }
      JsonNode arguments = function.get("arguments");
      String json =
          arguments == null || arguments.isNull()
              ? "{}"
              : arguments.isString() ? arguments.stringValue() : arguments.toString();
      String id = text(at + ".id", call.get("id"));
      list.add(new ToolCall(id == null ? "" : id, name, json));
    }
    return list;
  }

  private static @Nullable String text(String place, @Nullable JsonNode value) {
    if (value == null || value.isNull()) {
      return null;
    }
    if (!value.isString()) {
      throw wrong(place, "expected a text");
    }
    return value.stringValue();
  }

  private static IllegalArgumentException wrong(String place, String expected) {
    return new IllegalArgumentException(place + ": " + expected);
  }
}
