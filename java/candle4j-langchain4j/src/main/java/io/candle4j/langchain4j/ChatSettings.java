package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.listener.ChatModelListener;
import dev.langchain4j.model.chat.request.ChatRequestParameters;
import dev.langchain4j.model.chat.request.DefaultChatRequestParameters;
import io.candle4j.CandleModel;
import io.candle4j.GenerateOptions;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** What the adapters for chats are made of. */
record ChatSettings(
    ChatEngine engine,
    String modelName,
    ChatRequestParameters parameters,
    GenerateOptions options,
    List<ChatModelListener> listeners) {

  /**
   * What both builders have.
   *
   * @param <B> the builder itself
   */
  abstract static class Builder<B extends Builder<B>> {
    private @Nullable ChatEngine engine;
    private String fileName = "candle4j";
    private @Nullable String modelName;
    private ChatRequestParameters parameters = DefaultChatRequestParameters.EMPTY;
    private GenerateOptions options = GenerateOptions.defaults();
    private List<ChatModelListener> listeners = List.of();

    Builder() {}

    abstract B self();

    B engine(ChatEngine engine) {
      this.engine = engine;
      return self();
    }

    /**
     * The model that answers. It stays the caller's, who closes it when the adapter is not used any
     * more; several adapters may have the same.
     *
     * @param model the model
     * @return this builder
     */
    public B model(CandleModel model) {
      fileName = String.valueOf(model.info().path().getFileName());
      return engine(ChatEngine.of(model));
    }

    /**
     * What responses call the model; the name of its folder or file when this is left out.
     *
     * @param modelName the name
     * @return this builder
     */
    public B modelName(String modelName) {
      this.modelName = Objects.requireNonNull(modelName, "modelName");
      return self();
    }

    /**
     * What requests have that do not say otherwise.
     *
     * @param parameters the parameters
     * @return this builder
     */
    public B defaultRequestParameters(ChatRequestParameters parameters) {
      this.parameters = Objects.requireNonNull(parameters, "parameters");
      return self();
    }

    /**
     * How answers are generated beyond what LangChain4j's parameters can say: a seed, thinking, or
     * min-p, say. What a request or {@link #defaultRequestParameters} says counts before it.
     *
     * @param options the options
     * @return this builder
     */
    public B options(GenerateOptions options) {
      this.options = Objects.requireNonNull(options, "options");
      return self();
    }

    /**
     * Who is told of requests, responses and errors.
     *
     * @param listeners the listeners
     * @return this builder
     */
    public B listeners(List<ChatModelListener> listeners) {
      this.listeners = List.copyOf(listeners);
      return self();
    }

    ChatSettings settings() {
      if (engine == null) {
        throw new IllegalStateException("model: expected one");
      }
      String name = Objects.requireNonNullElse(modelName, fileName);
      Requests.check(parameters, name);
      ChatRequestParameters named =
          CandleChatRequestParameters.builder().modelName(name).build().overrideWith(parameters);
      return new ChatSettings(engine, name, named, options, listeners);
    }
  }
}
