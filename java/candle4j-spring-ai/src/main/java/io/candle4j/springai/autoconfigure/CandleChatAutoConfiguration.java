package io.candle4j.springai.autoconfigure;

import io.candle4j.CandleModel;
import io.candle4j.springai.CandleChatModel;
import io.micrometer.observation.ObservationRegistry;
import org.springframework.ai.chat.model.ChatModel;
import org.springframework.ai.chat.observation.ChatModelObservationConvention;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;

/**
 * The model for chats, unless {@code spring.ai.model.chat} names another provider. The model is
 * loaded with the context and closed with it.
 */
@AutoConfiguration
@ConditionalOnClass({ChatModel.class, CandleModel.class})
@ConditionalOnProperty(name = "spring.ai.model.chat", havingValue = "candle", matchIfMissing = true)
@EnableConfigurationProperties(CandleChatProperties.class)
public class CandleChatAutoConfiguration {
  /** Made by Spring. */
  public CandleChatAutoConfiguration() {}

  /**
   * The library's model.
   *
   * @param properties which one
   * @return the loaded model
   */
  @Bean(destroyMethod = "close")
  @ConditionalOnMissingBean
  public CandleModel candleModel(CandleChatProperties properties) {
    return properties.load();
  }

  /**
   * Spring AI's model.
   *
   * @param model the library's
   * @param properties how it answers
   * @param observations who observes requests
   * @param convention how observations are named
   * @return the model
   */
  @Bean
  @ConditionalOnMissingBean
  public CandleChatModel candleChatModel(
      CandleModel model,
      CandleChatProperties properties,
      ObjectProvider<ObservationRegistry> observations,
      ObjectProvider<ChatModelObservationConvention> convention) {
    return CandleChatModel.builder(model)
        .options(properties.options().toOptions().mutate().model(properties.model()).build())
        .observationRegistry(observations.getIfUnique(() -> ObservationRegistry.NOOP))
        .observationConvention(convention.getIfAvailable())
        .build();
  }
}
