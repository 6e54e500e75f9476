package io.candle4j.cli;

import io.candle4j.ChatMessage;
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

  /** Everything in order, with a further message of the user at the end. */
  List<ChatMessage> with(String message) {
    List<ChatMessage> all = messages();
    all.add(ChatMessage.user(message));
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

  void add(String message, String answer) {
    turns.add(ChatMessage.user(message));
    turns.add(ChatMessage.assistant(answer));
  }

  /** Takes back the last message and its answer; null when there is none. */
  @Nullable String takeBack() {
    int last = turns.size() - 2;
    if (last < 0 || !(turns.get(last) instanceof ChatMessage.User)) {
      return null;
    }
    String message = turns.get(last).text();
    turns.subList(last, turns.size()).clear();
    return message;
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
