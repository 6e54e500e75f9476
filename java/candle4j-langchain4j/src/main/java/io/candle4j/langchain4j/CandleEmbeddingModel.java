package io.candle4j.langchain4j;

import dev.langchain4j.data.embedding.Embedding;
import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.embedding.listener.EmbeddingModelListener;
import dev.langchain4j.model.embedding.request.EmbeddingInputType;
import dev.langchain4j.model.embedding.request.EmbeddingParameter;
import dev.langchain4j.model.embedding.request.EmbeddingRequest;
import dev.langchain4j.model.embedding.request.EmbeddingRequestParameters;
import dev.langchain4j.model.embedding.response.EmbeddingResponse;
import dev.langchain4j.model.output.TokenUsage;
import io.candle4j.CandleEmbedder;
import io.candle4j.EmbedOptions;
import io.candle4j.EmbedPrompt;
import java.util.List;
import java.util.Objects;
import java.util.Set;

/**
 * LangChain4j's {@link EmbeddingModel} on an embedder in this process. Texts of a request, and of
 * several threads, go through the model together. An input type chooses the model's prompt for
 * queries or documents, and {@code dimensions} cuts vectors of models that were trained for it.
 *
 * <p>Errors are LangChain4j's, as those of {@link CandleChatModel}.
 */
public final class CandleEmbeddingModel implements EmbeddingModel {
  private final CandleEmbedder embedder;
  private final List<EmbeddingModelListener> listeners;

  /**
   * Embeds by an embedder.
   *
   * @param embedder the embedder, which stays the caller's
   */
  public CandleEmbeddingModel(CandleEmbedder embedder) {
    this(embedder, List.of());
  }

  /**
   * Embeds by an embedder.
   *
   * @param embedder the embedder, which stays the caller's
   * @param listeners who is told of requests, responses and errors
   */
  public CandleEmbeddingModel(CandleEmbedder embedder, List<EmbeddingModelListener> listeners) {
    this.embedder = Objects.requireNonNull(embedder, "embedder");
    this.listeners = List.copyOf(listeners);
  }

  @Override
  public EmbeddingResponse doEmbed(EmbeddingRequest request) {
    EmbeddingRequestParameters parameters = request.parameters();
    List<String> texts = request.inputs().stream().map(input -> input.text()).toList();
    try {
      EmbedOptions.Builder options = EmbedOptions.builder().prompt(prompt(parameters.inputType()));
      if (parameters.dimensions() != null) {
        options.dimensions(parameters.dimensions());
      }
      List<io.candle4j.Embedding> made = embedder.embedAll(texts, options.build());
      int tokens = made.stream().mapToInt(io.candle4j.Embedding::tokens).sum();
      return EmbeddingResponse.builder()
          .embeddings(made.stream().map(one -> Embedding.from(one.vector())).toList())
          .modelName(modelName())
          .tokenUsage(new TokenUsage(tokens, 0))
          .build();
    } catch (RuntimeException e) {
      throw Responses.error(e);
    }
  }

  private static EmbedPrompt prompt(EmbeddingInputType type) {
    return switch (type) {
      case null -> new EmbedPrompt.Default();
      case QUERY -> new EmbedPrompt.Query();
      case DOCUMENT -> new EmbedPrompt.Document();
    };
  }

  @Override
  public Set<EmbeddingParameter<?>> supportedParameters() {
    return Set.of(EmbeddingRequestParameters.DIMENSIONS, EmbeddingRequestParameters.INPUT_TYPE);
  }

  @Override
  public List<EmbeddingModelListener> listeners() {
    return listeners;
  }

  @Override
  public int dimension() {
    return embedder.dimensions();
  }

  @Override
  public String modelName() {
    return String.valueOf(embedder.info().path().getFileName());
  }
}
