package io.candle4j.springai.autoconfigure;

import io.candle4j.CandleEmbedder;
import io.candle4j.Quantization;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * The model for embeddings.
 *
 * @param model a Hub id, folder, GGUF file or alias; the built-in model when left out
 * @param revision branch, tag or commit of a Hub model
 * @param quantize what its weights become
 * @param maxTokens most tokens of a text; what is more is left out
 */
@ConfigurationProperties("spring.ai.candle.embedding")
public record CandleEmbeddingProperties(
    @DefaultValue(CandleEmbedder.BUILT_IN) String model,
    @Nullable String revision,
    @Nullable Quantization quantize,
    @Nullable Integer maxTokens) {

  CandleEmbedder load() {
    CandleEmbedder.Builder builder = CandleEmbedder.builder().source(model);
    if (revision != null) {
      builder.revision(revision);
    }
    if (quantize != null) {
      builder.quantize(quantize);
    }
    if (maxTokens != null) {
      builder.maxTokens(maxTokens);
    }
    return builder.load();
  }
}
