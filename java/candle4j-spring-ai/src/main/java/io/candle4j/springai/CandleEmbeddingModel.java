package io.candle4j.springai;

import io.candle4j.CandleEmbedder;
import io.candle4j.EmbedOptions;
import io.candle4j.EmbedPrompt;
import io.micrometer.observation.ObservationRegistry;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.chat.metadata.DefaultUsage;
import org.springframework.ai.document.Document;
import org.springframework.ai.embedding.BatchingStrategy;
import org.springframework.ai.embedding.Embedding;
import org.springframework.ai.embedding.EmbeddingModel;
import org.springframework.ai.embedding.EmbeddingOptions;
import org.springframework.ai.embedding.EmbeddingRequest;
import org.springframework.ai.embedding.EmbeddingResponse;
import org.springframework.ai.embedding.EmbeddingResponseMetadata;
import org.springframework.ai.embedding.observation.DefaultEmbeddingModelObservationConvention;
import org.springframework.ai.embedding.observation.EmbeddingModelObservationContext;
import org.springframework.ai.embedding.observation.EmbeddingModelObservationConvention;
import org.springframework.ai.embedding.observation.EmbeddingModelObservationDocumentation;

/**
 * Spring AI's {@link EmbeddingModel} on an embedder in this process. Texts of a request, and of
 * several threads, go through the model together. Documents get the model's prompt for documents, a
 * single text the one for queries, as vector stores call both; a list of texts, which may be
 * either, its default one.
 */
public final class CandleEmbeddingModel implements EmbeddingModel {
  private static final EmbeddingModelObservationConvention CONVENTION =
      new DefaultEmbeddingModelObservationConvention();

  private final CandleEmbedder embedder;
  private final ObservationRegistry observations;
  private final @Nullable EmbeddingModelObservationConvention convention;

  /**
   * Embeds by an embedder.
   *
   * @param embedder the embedder, which stays the caller's
   */
  public CandleEmbeddingModel(CandleEmbedder embedder) {
    this(embedder, ObservationRegistry.NOOP, null);
  }

  /**
   * Embeds by an embedder, observed.
   *
   * @param embedder the embedder, which stays the caller's
   * @param observations who observes requests
   * @param convention how observations are named, or null for Spring AI's own
   */
  public CandleEmbeddingModel(
      CandleEmbedder embedder,
      ObservationRegistry observations,
      @Nullable EmbeddingModelObservationConvention convention) {
    this.embedder = Objects.requireNonNull(embedder, "embedder");
    this.observations = Objects.requireNonNull(observations, "observations");
    this.convention = convention;
  }

  @Override
  public EmbeddingResponse call(EmbeddingRequest request) {
    return call(request, new EmbedPrompt.Default());
  }

  private EmbeddingResponse call(EmbeddingRequest request, EmbedPrompt prompt) {
    EmbeddingOptions given = request.getOptions();
    if (given != null && given.getModel() != null && !given.getModel().equals(name())) {
      throw new IllegalArgumentException(
          "model: expected " + name() + ", which is the one that is here, got " + given.getModel());
    }
    EmbedOptions.Builder options = EmbedOptions.builder().prompt(prompt);
    if (given != null && given.getDimensions() != null) {
      options.dimensions(given.getDimensions());
    }
    EmbeddingOptions.Builder observed = EmbeddingOptions.builder().model(name());
    if (given != null && given.getDimensions() != null) {
      observed.dimensions(given.getDimensions());
    }
    EmbeddingModelObservationContext context =
        EmbeddingModelObservationContext.builder()
            .embeddingRequest(new EmbeddingRequest(request.getInstructions(), observed.build()))
            .provider(CandleChatModel.PROVIDER)
            .build();
    return EmbeddingModelObservationDocumentation.EMBEDDING_MODEL_OPERATION
        .observation(convention, CONVENTION, () -> context, observations)
        .observe(() -> {
          EmbeddingResponse response =
              response(embedder.embedAll(request.getInstructions(), options.build()));
          context.setResponse(response);
          return response;
        });
  }

  private EmbeddingResponse response(List<io.candle4j.Embedding> made) {
    int tokens = made.stream().mapToInt(io.candle4j.Embedding::tokens).sum();
    return new EmbeddingResponse(
        IntStream.range(0, made.size())
            .mapToObj(i -> new Embedding(made.get(i).vector(), i))
            .toList(),
        new EmbeddingResponseMetadata(name(), new DefaultUsage(tokens, 0)));
  }

  /** What vector stores call with a query. */
  @Override
  public float[] embed(String text) {
    EmbeddingRequest request =
        new EmbeddingRequest(List.of(text), EmbeddingOptions.builder().build());
    return call(request, new EmbedPrompt.Query()).getResult().getOutput();
  }

  @Override
  public float[] embed(Document document) {
    return embedder.embed(text(document), EmbedOptions.document()).vector();
  }

  /** What vector stores call with documents. */
  @Override
  public List<float[]> embed(
      List<Document> documents,
      @Nullable EmbeddingOptions options,
      BatchingStrategy batchingStrategy) {
    return batchingStrategy.batch(documents).stream()
        .map(batch -> batch.stream().map(this::text).toList())
        .map(texts -> call(new EmbeddingRequest(texts, options), new EmbedPrompt.Document()))
        .flatMap(response -> response.getResults().stream())
        .map(Embedding::getOutput)
        .toList();
  }

  private String text(Document document) {
    return Objects.requireNonNullElse(getEmbeddingContent(document), "");
  }

  @Override
  public int dimensions() {
    return embedder.dimensions();
  }

  private String name() {
    return String.valueOf(embedder.info().path().getFileName());
  }
}
