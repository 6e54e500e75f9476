package io.candle4j;

import io.candle4j.internal.Messages;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** One message of a conversation. */
public sealed interface ChatMessage {
  /**
   * Who speaks, as the model's chat template knows it: {@code system}, {@code user}, {@code
   * assistant}, {@code tool}, or what the template knows beyond these.
   *
   * @return the role
   */
  String role();

  /**
   * What is said.
   *
   * @return the text; empty where a message consists of tool calls only
   */
  String text();

  /**
   * Instructions that come before everything.
   *
   * @param text the instructions
   */
  record System(String text) implements ChatMessage {
    /** Checks the text. */
    public System {
      Objects.requireNonNull(text, "text");
    }

    @Override
    public String role() {
      return "system";
    }
  }

  /**
   * What a person says.
   *
   * @param text the words
   */
  record User(String text) implements ChatMessage {
    /** Checks the text. */
    public User {
      Objects.requireNonNull(text, "text");
    }

    @Override
    public String role() {
      return "user";
    }
  }

  /**
   * What the model answered.
   *
   * @param text the answer, without reasoning; empty where it only called tools
   * @param reasoning what it thought before; most chat templates leave it out of later prompts
   * @param toolCalls the tools that it called, in order
   */
  record Assistant(String text, Optional<String> reasoning, List<ToolCall> toolCalls)
      implements ChatMessage {
    /** Checks and copies the parts. */
    public Assistant {
      Objects.requireNonNull(text, "text");
      Objects.requireNonNull(reasoning, "reasoning");
      toolCalls = List.copyOf(toolCalls);
    }

    @Override
    public String role() {
      return "assistant";
    }
  }

  /**
   * What a tool returned.
   *
   * @param callId the {@link ToolCall#id} that it answers; empty where there is none
   * @param name the tool's name; empty where the template needs none
   * @param text the result
   */
  record ToolResult(String callId, String name, String text) implements ChatMessage {
    /** Checks the parts. */
    public ToolResult {
      Objects.requireNonNull(callId, "callId");
      Objects.requireNonNull(name, "name");
      Objects.requireNonNull(text, "text");
    }

    @Override
    public String role() {
      return "tool";
    }
  }

  /**
   * A message in any other form that the model's chat template knows.
   *
   * @param role who speaks
   * @param content what is said, or null where the template is to find none
   * @param more further keys for the template; values are those that JSON has
   */
  record Other(String role, @Nullable String content, Map<String, Object> more)
      implements ChatMessage {
    /** Checks and copies the parts. */
    public Other {
      Objects.requireNonNull(role, "role");
      more = Collections.unmodifiableMap(new LinkedHashMap<>(more));
    }

    @Override
    public String text() {
      return content == null ? "" : content;
    }
  }

  /**
   * Instructions that come before everything.
   *
   * @param text the text
   * @return the message
   */
  static ChatMessage system(String text) {
    return new System(text);
  }

  /**
   * What a person says.
   *
   * @param text the text
   * @return the message
   */
  static ChatMessage user(String text) {
    return new User(text);
  }

  /**
   * What the model answered.
   *
   * @param text the text
   * @return the message
   */
  static ChatMessage assistant(String text) {
    return new Assistant(text, Optional.empty(), List.of());
  }

  /**
   * What a tool returned.
   *
   * @param call the call that it answers
   * @param text the result
   * @return the message
   */
  static ChatMessage tool(ToolCall call, String text) {
    return new ToolResult(call.id(), call.name(), text);
  }

  /**
   * Reads messages as OpenAI's API and its many relatives write them.
   *
   * @param json a JSON array of objects with {@code role} and {@code content} (a text, null, or a
   *     list of text parts), and for tools {@code tool_calls}, {@code tool_call_id} and {@code
   *     name}
   * @return the messages
   * @throws IllegalArgumentException when it is not that; the message names the place
   */
  static List<ChatMessage> parse(String json) {
    return Messages.parse(json);
  }

  /**
   * Writes messages as {@link #parse} reads them.
   *
   * @param messages the messages
   * @return a JSON array
   */
  static String toJson(List<ChatMessage> messages) {
    return Messages.write(messages);
  }
}
