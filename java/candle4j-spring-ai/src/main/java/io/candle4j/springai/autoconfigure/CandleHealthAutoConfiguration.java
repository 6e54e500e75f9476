package io.candle4j.springai.autoconfigure;

import io.candle4j.CandleModel;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.health.contributor.HealthIndicator;
import org.springframework.context.annotation.Bean;

/** Tells Spring Boot's health endpoint of the model for chats. */
@AutoConfiguration(after = CandleChatAutoConfiguration.class)
@ConditionalOnClass(HealthIndicator.class)
@ConditionalOnBean(CandleModel.class)
public class CandleHealthAutoConfiguration {
  /** Made by Spring. */
  public CandleHealthAutoConfiguration() {}

  /**
   * The health of a model: down once it is closed.
   *
   * @param model the model
   * @return the indicator
   */
  @Bean
  public HealthIndicator candleHealthIndicator(CandleModel model) {
    return new CandleHealthIndicator(model);
  }
}
