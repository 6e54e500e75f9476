package io.candle4j.springai;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.Generation;
import io.candle4j.PrefixCache;
import io.candle4j.Request;
import io.micrometer.observation.Observation;
import io.micrometer.observation.ObservationRegistry;
import io.micrometer.observation.contextpropagation.ObservationThreadLocalAccessor;
import java.util.Objects;
import java.util.UUID;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.chat.model.ChatModel;
import org.springframework.ai.chat.model.ChatResponse;
import org.springframework.ai.chat.model.MessageAggregator;
import org.springframework.ai.chat.observation.ChatModelObservationContext;
import org.springframework.ai.chat.observation.ChatModelObservationConvention;
import org.springframework.ai.chat.observation.ChatModelObservationDocumentation;
import org.springframework.ai.chat.observation.DefaultChatModelObservationConvention;
import org.springframework.ai.chat.prompt.ChatOptions;
import org.springframework.ai.chat.prompt.Prompt;
import reactor.core.publisher.Flux;
import reactor.core.publisher.FluxSink;

/**
 * Spring AI's {@link ChatModel} on a model in this process. Tools are told to the model and its
 * calls are handed out; {@code ToolCallingAdvisor} of a {@code ChatClient} runs them. A schema in
 * the options is held.
 *
 * <p>Any number of threads may use it; their requests go through the model together. Who cancels a
 * stream ends the answer within a token. What fails is the library's exception.
 */
public final class CandleChatModel implements ChatModel {
  /** What observations call the provider. */
  public static final String PROVIDER = "candle";

  private static final ChatModelObservationConvention CONVENTION =
      new DefaultChatModelObservationConvention();

  /** Conversations that stay computed when memory allows. */
  private static final int PREFIXES = 8;

  private final CandleModel model;
  private final CandleChatOptions options;
  private final ObservationRegistry observations;
  private final @Nullable ChatModelObservationConvention convention;
  private final PrefixCache prefixes = new PrefixCache(PREFIXES);

  private CandleChatModel(Builder builder) {
    this.model = Objects.requireNonNull(builder.model, "model");
    String name = String.valueOf(model.info().path().getFileName());
    this.options =
        builder.options.getModel() == null
            ? builder.options.mutate().model(name).build()
            : builder.options;
    // Refuses now what each prompt would be refused for.
    this.options.toOptions();
    this.observations = builder.observations;
    this.convention = builder.convention;
  }

  /**
   * Starts from the model's own options and no observations.
   *
   * @param model the model, which stays the caller's
   * @return a builder
   */
  public static Builder builder(CandleModel model) {
    return new Builder(model);
  }

  /**
   * Answers a prompt.
   *
   * @param prompt messages of text; what its options leave out comes from {@link #getOptions()}
   * @return the answer, with calls of tools that the model wants
   * @throws IllegalArgumentException for media, and for options out of their range
   * @throws io.candle4j.CandleException when the model cannot answer
   */
  @Override
  public ChatResponse call(Prompt prompt) {
    CandleChatOptions merged = merged(prompt.getOptions());
    Request request = Prompts.request(prompt, merged);
    ChatModelObservationContext context = context(prompt, merged, false);
    return observation(context)
        .observe(() -> {
          CandleSession session = model.newSession();
          try {
            ChatResponse response = responses(merged).whole(session.generate(request));
            context.setResponse(response);
            return response;
          } finally {
            prefixes.keep(session);
          }
        });
  }

  /**
   * Answers a prompt while the answer is made.
   *
   * @param prompt as for {@link #call(Prompt)}
   * @return the parts of the answer; the last one says why it ended, and counts tokens
   */
  @Override
  public Flux<ChatResponse> stream(Prompt prompt) {
    return Flux.deferContextual(view -> {
      CandleChatOptions merged = merged(prompt.getOptions());
      Request request = Prompts.request(prompt, merged);
      ChatModelObservationContext context = context(prompt, merged, true);
      Observation observation = observation(context);
      observation.parentObservation(view.getOrDefault(ObservationThreadLocalAccessor.KEY, null));
      observation.start();
      Flux<ChatResponse> parts =
          Flux.<ChatResponse>create(sink -> generate(request, responses(merged), sink))
              .doOnError(observation::error)
              .doFinally(signal -> observation.stop())
              .contextWrite(
                  written -> written.put(ObservationThreadLocalAccessor.KEY, observation));
      return new MessageAggregator().aggregate(parts, context::setResponse);
    });
  }

  private void generate(Request request, Responses responses, FluxSink<ChatResponse> sink) {
    CandleSession session = model.newSession();
    sink.onDispose(session::cancel);
    Thread.ofVirtual()
        .name("candle4j-spring-ai")
        .start(() -> {
          try {
            Generation generation =
                session.generate(
                    request,
                    token -> {
                      if (!token.text().isEmpty()
                          || !token.reasoning().isEmpty()
                          || !token.toolCalls().isEmpty()) {
                        sink.next(responses.part(token));
                      }
                      // Who cancelled before the session had begun has cancelled nothing.
                      if (sink.isCancelled()) {
                        session.cancel();
                      }
                    });
            sink.next(responses.last(generation));
            sink.complete();
          } catch (Throwable e) {
            sink.error(e);
          } finally {
            prefixes.keep(session);
          }
        });
  }

  private CandleChatOptions merged(@Nullable ChatOptions given) {
    CandleChatOptions merged =
        switch (given) {
          case null -> options;
          default -> options.mutate().combineWith(given.mutate()).build();
        };
    String name = merged.getModel();
    if (name != null && !name.equals(options.getModel())) {
      throw new IllegalArgumentException(
          "model: expected " + options.getModel() + ", which is the one that is here, got " + name);
    }
    return merged;
  }

  private Responses responses(CandleChatOptions merged) {
    return new Responses(UUID.randomUUID().toString(), String.valueOf(options.getModel()));
  }

  private static ChatModelObservationContext context(
      Prompt prompt, CandleChatOptions merged, boolean streams) {
    return ChatModelObservationContext.builder()
        .prompt(prompt.mutate().chatOptions(merged).build())
        .provider(PROVIDER)
        .streaming(streams)
        .build();
  }

  private Observation observation(ChatModelObservationContext context) {
    return ChatModelObservationDocumentation.CHAT_MODEL_OPERATION.observation(
        convention, CONVENTION, () -> context, observations);
  }

  /**
   * What prompts have that do not say otherwise.
   *
   * @return the options, the model's name among them
   */
  @Override
  public CandleChatOptions getOptions() {
    return options;
  }

  /** Puts a {@link CandleChatModel} together. Not for several threads. */
  public static final class Builder {
    private final CandleModel model;
    private CandleChatOptions options = CandleChatOptions.builder().build();
    private ObservationRegistry observations = ObservationRegistry.NOOP;
    private @Nullable ChatModelObservationConvention convention;

    private Builder(CandleModel model) {
      this.model = Objects.requireNonNull(model, "model");
    }

    /**
     * What prompts have that do not say otherwise.
     *
     * @param options the options; a model in them is what responses call this one
     * @return this
     */
    public Builder options(CandleChatOptions options) {
      this.options = Objects.requireNonNull(options, "options");
      return this;
    }

    /**
     * Who observes requests.
     *
     * @param observations the registry
     * @return this
     */
    public Builder observationRegistry(ObservationRegistry observations) {
      this.observations = Objects.requireNonNull(observations, "observations");
      return this;
    }

    /**
     * How observations are named.
     *
     * @param convention the convention, or null for Spring AI's own
     * @return this
     */
    public Builder observationConvention(@Nullable ChatModelObservationConvention convention) {
      this.convention = convention;
      return this;
    }

    /**
     * Makes the model.
     *
     * @return the model
     * @throws IllegalArgumentException for options out of their range
     */
    public CandleChatModel build() {
      return new CandleChatModel(this);
    }
  }
}
