package io.candle4j.springai.autoconfigure;

import io.candle4j.CandleModel;
import io.candle4j.ModelMetrics;
import org.springframework.boot.health.contributor.AbstractHealthIndicator;
import org.springframework.boot.health.contributor.Health;

/** Whether a model can be asked, and how busy it is. */
final class CandleHealthIndicator extends AbstractHealthIndicator {
  private final CandleModel model;

  CandleHealthIndicator(CandleModel model) {
    super("the model cannot be asked");
    this.model = model;
  }

  @Override
  protected void doHealthCheck(Health.Builder builder) {
    ModelMetrics metrics = model.metrics();
    builder
        .up()
        .withDetail("architecture", model.info().architecture())
        .withDetail("active", metrics.active())
        .withDetail("waiting", metrics.waiting());
  }
}
