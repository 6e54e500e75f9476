package io.candle4j;

import java.util.ArrayList;
import java.util.List;

/**
 * What a {@link CandleChat} does when a conversation and the answer to come don't fit into the
 * model's context any more.
 */
@FunctionalInterface
public interface ContextPolicy {
  /** Throws a {@link ContextFullException}, and leaves the conversation as it was. */
  ContextPolicy FAIL =
      (messages, full) -> {
        throw full;
      };

  /**
   * Leaves out the oldest turns, until about half of the context is free again: what then stays in
   * the KV cache serves many turns. System messages at the beginning and the last turn stay.
   *
   * <p>A turn is a message of the user and all that follows up to the next one.
   */
  ContextPolicy DROP_OLDEST = ContextPolicy::dropOldest;

  /**
   * Makes a conversation shorter. It is called again with the result as long as that does not fit.
   *
   * @param messages the conversation, its last message the one to be answered
   * @param full how many tokens were needed, the answer's included, and how many there are
   * @return the messages to keep, which become the conversation if the turn succeeds
   * @throws ContextFullException to give up
   */
  List<ChatMessage> fit(List<ChatMessage> messages, ContextFullException full);

  private static List<ChatMessage> dropOldest(
      List<ChatMessage> messages, ContextFullException full) {
    int begin = 0;
    while (begin < messages.size() && messages.get(begin) instanceof ChatMessage.System) {
      begin++;
    }
    List<Integer> turns = new ArrayList<>();
    for (int i = begin; i < messages.size(); i++) {
      if (messages.get(i) instanceof ChatMessage.User) {
        turns.add(i);
      }
    }
    // The last turn is to be answered.
    if (turns.size() < 2) {
      throw full;
    }
    // Tokens of single messages are not known, but they go with their lengths.
    long all = length(messages, 0, messages.size());
    long most = all * full.limit() / 2 / full.needed();
    int next = 1;
    while (next < turns.size() - 1 && all - length(messages, begin, turns.get(next)) > most) {
      next++;
    }
    List<ChatMessage> kept = new ArrayList<>(messages.subList(0, begin));
    kept.addAll(messages.subList(turns.get(next), messages.size()));
    return kept;
  }

  private static long length(List<ChatMessage> messages, int from, int to) {
    long length = 0;
    for (ChatMessage message : messages.subList(from, to)) {
      length += message.text().length() + message.role().length();
      if (message instanceof ChatMessage.Assistant assistant) {
        for (ToolCall call : assistant.toolCalls()) {
          length += call.name().length() + call.arguments().length();
        }
      }
    }
    return length;
  }
}
