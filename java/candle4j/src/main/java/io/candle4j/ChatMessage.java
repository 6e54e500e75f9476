package io.candle4j;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * One message of a conversation.
 *
 * @param role who speaks: {@code system}, {@code user}, {@code assistant} or {@code tool}
 * @param content what is said; null where a message consists of tool calls only
 * @param more further keys for the model's chat template, such as {@code tool_calls} or {@code
 *     name}; values are those that JSON has
 */
public record ChatMessage(String role, @Nullable String content, Map<String, Object> more) {

  /**
   * Checks and copies the parts.
   *
   * @throws NullPointerException when {@code role} or {@code more} is null
   */
  public ChatMessage {
    Objects.requireNonNull(role, "role");
    more = java.util.Collections.unmodifiableMap(new LinkedHashMap<>(more));
  }

  /**
   * Instructions that come before everything.
   *
   * @param content the text
   * @return the message
   */
  public static ChatMessage system(String content) {
    return new ChatMessage("system", Objects.requireNonNull(content, "content"), Map.of());
  }

  /**
   * What a person says.
   *
   * @param content the text
   * @return the message
   */
  public static ChatMessage user(String content) {
    return new ChatMessage("user", Objects.requireNonNull(content, "content"), Map.of());
  }

  /**
   * What the model answered.
   *
   * @param content the text
   * @return the message
   */
  public static ChatMessage assistant(String content) {
    return new ChatMessage("assistant", Objects.requireNonNull(content, "content"), Map.of());
  }

  /**
   * What a tool returned.
   *
   * @param content the text
   * @return the message
   */
  public static ChatMessage tool(String content) {
    return new ChatMessage("tool", Objects.requireNonNull(content, "content"), Map.of());
  }
}
