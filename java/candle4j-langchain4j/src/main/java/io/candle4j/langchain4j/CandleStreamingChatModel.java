package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.StreamingChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import io.candle4j.Request;

/**
 * LangChain4j's {@link StreamingChatModel} on a model in this process. What {@link CandleChatModel}
 * says holds here, too.
 *
 * <p>All callbacks of a request come from one thread, which is not the caller's. What a callback
 * throws is told to {@code onError}, and streaming goes on. After a {@linkplain
 * dev.langchain4j.model.chat.response.StreamingHandle#cancel() cancelled} request no callback comes
 * any more, and the model ends within a token.
 */
public final class CandleStreamingChatModel extends ChatAdapter implements StreamingChatModel {
  private CandleStreamingChatModel(ChatSettings settings) {
    super(settings);
  }

  /**
   * Begins an adapter.
   *
   * @return a builder without a model
   */
  public static Builder builder() {
    return new Builder();
  }

  @Override
  public void doChat(ChatRequest chat, StreamingChatResponseHandler handler) {
    Request request = Requests.of(chat, settings);
    Streaming streaming = new Streaming(settings, handler);
    Thread.ofPlatform().daemon().name("candle4j-langchain4j").start(() -> streaming.run(request));
  }

  /** Puts a {@link CandleStreamingChatModel} together. */
  public static final class Builder extends ChatSettings.Builder<Builder> {
    private Builder() {}

    @Override
    Builder self() {
      return this;
    }

    /**
     * Makes the adapter.
     *
     * @return the adapter
     * @throws IllegalStateException without a model
     * @throws dev.langchain4j.exception.UnsupportedFeatureException where the default parameters
     *     name another model
     */
    public CandleStreamingChatModel build() {
      return new CandleStreamingChatModel(settings());
    }
  }
}
