package io.candle4j.server;

import io.candle4j.Generation;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.Timer;
import io.micrometer.prometheusmetrics.PrometheusConfig;
import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import java.time.Duration;

/** What the server counts, in Prometheus' form. */
final class ServerMetrics {
  private final PrometheusMeterRegistry registry =
      new PrometheusMeterRegistry(PrometheusConfig.DEFAULT);

  ServerMetrics(Places places) {
    Gauge.builder("candle.requests.active", places, Places::active)
        .description("Requests that are worked on")
        .register(registry);
    Gauge.builder("candle.requests.waiting", places, Places::waiting)
        .description("Requests that wait for a place")
        .register(registry);
  }

  /** Gauges of a model. */
  void register(ServedModel model) {
    Gauge.builder("candle.model.loaded", model, served -> served.isLoaded() ? 1 : 0)
        .description("Whether the model is in memory")
        .tag("model", model.name())
        .register(registry);
  }

  /** A request is answered. */
  void answered(String endpoint, int status, Duration time) {
    Timer.builder("candle.requests")
        .description("Requests by endpoint and status")
        .tag("endpoint", endpoint)
        .tag("status", Integer.toString(status))
        .register(registry)
        .record(time);
  }

  /** An answer begins. */
  void firstToken(String model, Duration time) {
    Timer.builder("candle.first.token")
        .description("From the beginning of a generation to its first token")
        .tag("model", model)
        .serviceLevelObjectives(
            Duration.ofMillis(50),
            Duration.ofMillis(200),
            Duration.ofMillis(1000),
            Duration.ofMillis(5000))
        .register(registry)
        .record(time);
  }

  /** An answer is done. */
  void generated(String model, Generation generation) {
    tokens("candle.tokens.prompt", "Tokens of prompts", model, generation.promptTokens());
    tokens(
        "candle.tokens.cached",
        "Tokens of prompts that were computed before",
        model,
        generation.cachedTokens());
    tokens("candle.tokens.generated", "New tokens", model, generation.completionTokens());
  }

  private void tokens(String name, String description, String model, int count) {
    Counter.builder(name)
        .description(description)
        .tag("model", model)
        .register(registry)
        .increment(count);
  }

  /** All of it as text. */
  String scrape() {
    return registry.scrape();
  }
}
