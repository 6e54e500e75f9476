package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.response.ChatResponse;
import io.candle4j.Request;

/**
 * LangChain4j's {@link ChatModel} on a model in this process, with tools, JSON schemas, thinking
 * and all request parameters but a model's name.
 *
 * <p>Errors are LangChain4j's: {@link dev.langchain4j.exception.InvalidRequestException} for a
 * prompt that is too long or a request that is none, {@link
 * dev.langchain4j.exception.RateLimitException} where the model's queue is full, {@link
 * dev.langchain4j.exception.UnsupportedFeatureException} for what these models cannot do, such as
 * images. Any number of threads may use it.
 */
public final class CandleChatModel extends ChatAdapter implements ChatModel {
  private CandleChatModel(ChatSettings settings) {
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
  public ChatResponse doChat(ChatRequest chat) {
    Request request = Requests.of(chat, settings);
    try (ChatEngine.Call call = settings.engine().begin()) {
      return Responses.of(call.generate(request, token -> {}), settings.modelName());
    } catch (RuntimeException e) {
      throw Responses.error(e);
    }
  }

  /** Puts a {@link CandleChatModel} together. */
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
    public CandleChatModel build() {
      return new CandleChatModel(settings());
    }
  }
}
