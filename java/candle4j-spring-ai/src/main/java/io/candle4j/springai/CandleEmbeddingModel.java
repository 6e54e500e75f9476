package io.candle4j.springai;

import io.candle4j.CandleEmbedder;
import io.candle4j.EmbedOptions;
import io.micrometer.observation.ObservationRegistry;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.chat.metadata.DefaultUsage;
import org.springframework.ai.document.Document;
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
 * several threads, go through the model together. Documents get the model's prompt for documents;
 * texts, which may be either, its default one.
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
    EmbeddingOptions given = request.getOptions();
    if (given != null && given.getModel() != null && !given.getModel().equals(name())) {
      throw new IllegalArgumentException(
          "model: expected " + name() + ", which is the one that is here, got " + given.getModel());
    }
    EmbedOptions.Builder options = EmbedOptions.builder();
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

  @Override
  public float[] embed(Document document) {
    String text = Objects.requireNonNullElse(getEmbeddingContent(document), "");
    return embedder.embed(text, EmbedOptions.document()).vector();
  }

  @Override
  public int dimensions() {
    return embedder.dimensions();
  }

  private String name() {
    return String.valueOf(embedder.info().path().getFileName());
  }
}
