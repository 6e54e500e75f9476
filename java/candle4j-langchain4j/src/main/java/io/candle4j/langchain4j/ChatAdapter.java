package io.candle4j.langchain4j;

import static dev.langchain4j.model.chat.Capability.RESPONSE_FORMAT_JSON_SCHEMA;

import dev.langchain4j.model.chat.Capability;
import dev.langchain4j.model.chat.listener.ChatModelListener;
import dev.langchain4j.model.chat.request.ChatRequestParameters;
import java.util.List;
import java.util.Set;

/** What the adapters for chats say of themselves. */
abstract sealed class ChatAdapter permits CandleChatModel, CandleStreamingChatModel {
  final ChatSettings settings;

  ChatAdapter(ChatSettings settings) {
    this.settings = settings;
  }

  /**
   * What requests have that do not say otherwise.
   *
   * @return the parameters, the model's name among them
   */
  public ChatRequestParameters defaultRequestParameters() {
    return settings.parameters();
  }

  /**
   * Who is told of requests, responses and errors.
   *
   * @return the listeners
   */
  public List<ChatModelListener> listeners() {
    return settings.listeners();
  }

  /**
   * What the model can do beyond answering.
   *
   * @return JSON schemas
   */
  public Set<Capability> supportedCapabilities() {
    return Set.of(RESPONSE_FORMAT_JSON_SCHEMA);
  }
}
