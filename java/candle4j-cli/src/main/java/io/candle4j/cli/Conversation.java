package io.candle4j.cli;

import io.candle4j.ChatMessage;
import io.candle4j.ToolCall;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What was said, under instructions that stay when it is forgotten. */
final class Conversation {
  private @Nullable String system;
  private final List<ChatMessage> turns = new ArrayList<>();

  /**
   * Begins.
   *
   * @param system the instructions, or null for none
   */
  Conversation(@Nullable String system) {
    this.system = system;
  }

  @Nullable String system() {
    return system;
  }

  void setSystem(@Nullable String system) {
    this.system = system;
  }

  /** Everything in order, with further messages at the end. */
  List<ChatMessage> with(List<ChatMessage> further) {
    List<ChatMessage> all = messages();
    all.addAll(further);
    return all;
  }

  /** Everything in order. */
  List<ChatMessage> messages() {
    List<ChatMessage> all = new ArrayList<>();
    if (system != null) {
      all.add(ChatMessage.system(system));
    }
    all.addAll(turns);
    return all;
  }

  /** Adds what was said, and what was answered. */
  void add(List<ChatMessage> said, ChatMessage answer) {
    turns.addAll(said);
    turns.add(answer);
  }

  /** The calls of tools that the last answer made, whose results come next. */
  List<ToolCall> openCalls() {
    return !turns.isEmpty() && turns.getLast() instanceof ChatMessage.Assistant last
        ? last.toolCalls()
        : List.of();
  }

  /** Takes back the last message of the user and all behind it; null when there is none. */
  @Nullable String takeBack() {
    for (int i = turns.size() - 1; i >= 0; i--) {
      if (turns.get(i) instanceof ChatMessage.User user) {
        turns.subList(i, turns.size()).clear();
        return user.text();
      }
    }
    return null;
  }

  /** Forgets everything but the instructions. */
  void reset() {
    turns.clear();
  }

  /** Becomes another conversation; instructions are a message of their own at the beginning. */
  void replace(List<ChatMessage> messages) {
    boolean instructed = !messages.isEmpty() && messages.getFirst() instanceof ChatMessage.System;
    system = instructed ? messages.getFirst().text() : null;
    turns.clear();
    turns.addAll(instructed ? messages.subList(1, messages.size()) : messages);
  }
}
