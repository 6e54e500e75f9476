package io.candle4j.langchain4j;

import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.spi.model.embedding.EmbeddingModelFactory;
import io.candle4j.CandleEmbedder;
import org.jspecify.annotations.Nullable;

/**
 * What LangChain4j finds where it needs an embedding model and none is named: the built-in one,
 * which the artifact {@code candle4j-model-minilm} has. It is loaded once a process and stays.
 */
public final class CandleEmbeddingModelFactory implements EmbeddingModelFactory {
  private static @Nullable EmbeddingModel shared;

  /** For service loaders. */
  public CandleEmbeddingModelFactory() {}

  /**
   * The model.
   *
   * @throws io.candle4j.CandleException when it cannot be loaded
   */
  @Override
  public EmbeddingModel create() {
    synchronized (CandleEmbeddingModelFactory.class) {
      if (shared == null) {
        shared = new CandleEmbeddingModel(CandleEmbedder.load(CandleEmbedder.BUILT_IN));
      }
      return shared;
    }
  }
}
