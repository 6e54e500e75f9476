package io.candle4j.springai.autoconfigure;

import io.candle4j.CandleModel;
import io.candle4j.ModelMetrics;
import io.micrometer.core.instrument.FunctionCounter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.binder.MeterBinder;
import java.util.function.ToDoubleFunction;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.context.annotation.Bean;

/** Tells Micrometer what the model for chats has done and is doing. */
@AutoConfiguration(after = CandleChatAutoConfiguration.class)
@ConditionalOnClass(MeterBinder.class)
@ConditionalOnBean(CandleModel.class)
public class CandleMetricsAutoConfiguration {
  /** Made by Spring. */
  public CandleMetricsAutoConfiguration() {}

  /**
   * The meters of a model, whose names begin with {@code candle}.
   *
   * @param model the model
   * @return what registers them
   */
  @Bean
  public MeterBinder candleMeterBinder(CandleModel model) {
    return registry -> {
      gauge("candle.requests.active", "Requests under way", ModelMetrics::active, model)
          .register(registry);
      gauge("candle.requests.waiting", "Requests that wait", ModelMetrics::waiting, model)
          .register(registry);
      gauge(
              "candle.kv.cache.used",
              "Bytes of keys and values",
              metrics -> metrics.kvCacheUsed().orElse(0),
              model)
          .baseUnit("bytes")
          .register(registry);
      counter("candle.requests", "Requests that ended", ModelMetrics::requests, model)
          .register(registry);
      counter("candle.requests.failed", "Requests that failed", ModelMetrics::failed, model)
          .register(registry);
      counter("candle.tokens.prompt", "Tokens of prompts", ModelMetrics::promptTokens, model)
          .register(registry);
      counter("candle.tokens.cached", "Of those, in a cache", ModelMetrics::cachedTokens, model)
          .register(registry);
      counter("candle.tokens.generated", "New tokens", ModelMetrics::generatedTokens, model)
          .register(registry);
    };
  }

  private static Gauge.Builder<CandleModel> gauge(
      String name, String description, ToDoubleFunction<ModelMetrics> value, CandleModel model) {
    return Gauge.builder(name, model, of -> value.applyAsDouble(of.metrics()))
        .description(description);
  }

  private static FunctionCounter.Builder<CandleModel> counter(
      String name, String description, ToDoubleFunction<ModelMetrics> value, CandleModel model) {
    return FunctionCounter.builder(name, model, of -> value.applyAsDouble(of.metrics()))
        .description(description);
  }
}
