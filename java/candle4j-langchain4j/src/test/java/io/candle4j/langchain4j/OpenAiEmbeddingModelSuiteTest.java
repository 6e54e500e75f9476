package io.candle4j.langchain4j;

import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.embedding.common.AbstractEmbeddingModelIT;
import dev.langchain4j.model.embedding.listener.EmbeddingModelListener;
import dev.langchain4j.model.openai.OpenAiEmbeddingModel;
import java.util.List;

/** LangChain4j's own tests of embedding models with its OpenAI client and the server. */
class OpenAiEmbeddingModelSuiteTest extends AbstractEmbeddingModelIT {
  private static OpenAiEmbeddingModel.OpenAiEmbeddingModelBuilder builder() {
    return OpenAiEmbeddingModel.builder()
        .baseUrl(OverHttp.url())
        .apiKey("none")
        .modelName(OverHttp.EMBEDDER);
  }

  @Override
  protected List<EmbeddingModel> models() {
    return List.of(builder().build());
  }

  @Override
  protected EmbeddingModel modelWith(EmbeddingModelListener listener) {
    return builder().listeners(List.of(listener)).build();
  }

  @Override
  protected EmbeddingModel failingModelWith(EmbeddingModelListener listener) {
    return builder().modelName("no such model").maxRetries(0).listeners(List.of(listener)).build();
  }

  /** OpenAI's API has none. */
  @Override
  protected boolean supportsInputTypeParameter() {
    return false;
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
