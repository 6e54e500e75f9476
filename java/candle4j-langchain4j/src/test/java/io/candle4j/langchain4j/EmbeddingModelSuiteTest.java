package io.candle4j.langchain4j;

import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.embedding.common.AbstractEmbeddingModelIT;
import dev.langchain4j.model.embedding.listener.EmbeddingModelListener;
import io.candle4j.CandleEmbedder;
import java.util.List;

/** LangChain4j's own tests of embedding models. */
class EmbeddingModelSuiteTest extends AbstractEmbeddingModelIT {
  private static final CandleEmbedder EMBEDDER = load();

  private static CandleEmbedder load() {
    return CandleEmbedder.builder().path(TestModels.encoder("bert-prompts")).load();
  }

  @Override
  protected List<EmbeddingModel> models() {
    return List.of(new CandleEmbeddingModel(EMBEDDER));
  }

  @Override
  protected EmbeddingModel modelWith(EmbeddingModelListener listener) {
    return new CandleEmbeddingModel(EMBEDDER, List.of(listener));
  }

  @Override
  protected EmbeddingModel failingModelWith(EmbeddingModelListener listener) {
    CandleEmbedder closed = load();
    closed.close();
    return new CandleEmbeddingModel(closed, List.of(listener));
  }

  @Override
  protected boolean supportsImageInput() {
    return false;
  }

  @Override
  protected int dimensionsParameter() {
    return 16;
  }
}
