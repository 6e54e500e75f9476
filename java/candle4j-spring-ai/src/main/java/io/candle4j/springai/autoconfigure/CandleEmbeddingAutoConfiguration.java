package io.candle4j.springai.autoconfigure;

import io.candle4j.CandleEmbedder;
import io.candle4j.springai.CandleEmbeddingModel;
import io.micrometer.observation.ObservationRegistry;
import org.springframework.ai.embedding.EmbeddingModel;
import org.springframework.ai.embedding.observation.EmbeddingModelObservationConvention;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Lazy;

/**
 * The model for embeddings, unless {@code spring.ai.model.embedding} names another provider. It is
 * loaded when something first needs it and closed with the context.
 */
@AutoConfiguration
@ConditionalOnClass({EmbeddingModel.class, CandleEmbedder.class})
@ConditionalOnProperty(
    name = "spring.ai.model.embedding",
    havingValue = "candle",
    matchIfMissing = true)
@EnableConfigurationProperties(CandleEmbeddingProperties.class)
public class CandleEmbeddingAutoConfiguration {
  /** Made by Spring. */
  public CandleEmbeddingAutoConfiguration() {}

  /**
   * The library's embedder.
   *
   * @param properties which one
   * @return the loaded embedder
   */
  @Bean(destroyMethod = "close")
  @Lazy
  @ConditionalOnMissingBean
  public CandleEmbedder candleEmbedder(CandleEmbeddingProperties properties) {
    return properties.load();
  }

  /**
   * Spring AI's model.
   *
   * @param embedder the library's
   * @param observations who observes requests
   * @param convention how observations are named
   * @return the model
   */
  @Bean
  @Lazy
  @ConditionalOnMissingBean
  public CandleEmbeddingModel candleEmbeddingModel(
      CandleEmbedder embedder,
      ObjectProvider<ObservationRegistry> observations,
      ObjectProvider<EmbeddingModelObservationConvention> convention) {
    return new CandleEmbeddingModel(
        embedder,
        observations.getIfUnique(() -> ObservationRegistry.NOOP),
        convention.getIfAvailable());
  }
}
