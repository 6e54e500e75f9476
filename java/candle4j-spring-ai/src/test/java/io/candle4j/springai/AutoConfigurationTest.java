package io.candle4j.springai;

import static org.assertj.core.api.Assertions.assertThat;

import io.candle4j.CandleEmbedder;
import io.candle4j.CandleModel;
import io.candle4j.EmbedOptions;
import io.candle4j.springai.autoconfigure.CandleChatAutoConfiguration;
import io.candle4j.springai.autoconfigure.CandleEmbeddingAutoConfiguration;
import io.candle4j.springai.autoconfigure.CandleHealthAutoConfiguration;
import io.candle4j.springai.autoconfigure.CandleMetricsAutoConfiguration;
import io.micrometer.core.instrument.binder.MeterBinder;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import io.micrometer.observation.ObservationRegistry;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.springframework.ai.chat.prompt.Prompt;
import org.springframework.ai.document.Document;
import org.springframework.ai.embedding.EmbeddingModel;
import org.springframework.ai.embedding.EmbeddingOptions;
import org.springframework.ai.embedding.EmbeddingRequest;
import org.springframework.ai.embedding.TokenCountBatchingStrategy;
import org.springframework.boot.autoconfigure.AutoConfigurations;
import org.springframework.boot.health.contributor.HealthIndicator;
import org.springframework.boot.health.contributor.Status;
import org.springframework.boot.test.context.runner.ApplicationContextRunner;

/** The beans, from properties. */
class AutoConfigurationTest {
  private final ApplicationContextRunner runner =
      new ApplicationContextRunner()
          .withConfiguration(
              AutoConfigurations.of(
                  CandleChatAutoConfiguration.class,
                  CandleEmbeddingAutoConfiguration.class,
                  CandleHealthAutoConfiguration.class,
                  CandleMetricsAutoConfiguration.class));

  @Test
  void propertiesReachTheModel() {
    runner
        .withPropertyValues(
            "spring.ai.candle.chat.context-length=512",
            "spring.ai.candle.chat.kv-cache=64MB",
            "spring.ai.candle.chat.options.max-tokens=2",
            "spring.ai.candle.chat.options.seed=7")
        .run(context -> {
          CandleChatModel chat = context.getBean(CandleChatModel.class);
          assertThat(chat.getOptions().getSeed()).isEqualTo(7L);
          assertThat(chat.call(new Prompt("Hello")).getMetadata().getUsage())
              .extracting(usage -> usage.getCompletionTokens())
              .isEqualTo(2);
          CandleModel model = context.getBean(CandleModel.class);
          assertThat(model.info().contextLength()).isEqualTo(512);
          assertThat(model.info().kvCacheLimit()).isEqualTo(64L << 20);
        });
  }

  @Test
  void modelsAreClosedWithTheContext() {
    List<CandleModel> models = new ArrayList<>();
    runner.run(context -> models.add(context.getBean(CandleModel.class)));
    assertThat(models).hasSize(1);
    assertThat(org.assertj.core.api.Assertions.catchThrowable(() -> models.getFirst().newSession()))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void otherProvidersAndOtherBeansCountFirst() {
    runner
        .withPropertyValues("spring.ai.model.chat=openai", "spring.ai.model.embedding=none")
        .run(context ->
            assertThat(context)
                .doesNotHaveBean(CandleModel.class)
                .doesNotHaveBean(EmbeddingModel.class));
  }

  @Test
  void aModelThatCannotBeLoadedFailsTheContextByName() {
    runner
        .withPropertyValues("spring.ai.candle.chat.model=/no/such/model.gguf")
        .run(context ->
            assertThat(context)
                .getFailure()
                .rootCause()
                .hasMessageContaining("/no/such/model.gguf"));
  }

  @Test
  void textsAreEmbedded() {
    runner
        .withPropertyValues("spring.ai.model.chat=none")
        .run(context -> {
          EmbeddingModel model = context.getBean(EmbeddingModel.class);
          float[] expected = context.getBean(CandleEmbedder.class).embed("A fox.").vector();
          assertThat(model.embed("A fox.")).isEqualTo(expected);
          assertThat(model.embed(new Document("A fox."))).isEqualTo(expected);
          assertThat(model.dimensions()).isEqualTo(expected.length);
          var response = model.embedForResponse(List.of("A fox.", "Paris"));
          assertThat(response.getResults()).hasSize(2);
          assertThat(response.getMetadata().getUsage().getPromptTokens()).isPositive();
          EmbeddingOptions other = EmbeddingOptions.builder().model("other").build();
          assertThat(
                  org.assertj.core.api.Assertions.catchThrowable(
                      () -> model.call(new EmbeddingRequest(List.of("a"), other))))
              .isInstanceOf(IllegalArgumentException.class);
        });
  }

  @Test
  void storesGetThePromptsOfTheModel() {
    Path folder =
        Path.of(System.getProperty("candle4j.test.models")).resolveSibling("encoders/bert-prompts");
    try (CandleEmbedder embedder = CandleEmbedder.builder().path(folder).load()) {
      EmbeddingModel model = new CandleEmbeddingModel(embedder);
      float[] document = embedder.embed("a fox", EmbedOptions.document()).vector();
      float[] query = embedder.embed("a fox", EmbedOptions.query()).vector();
      assertThat(query).isNotEqualTo(document);
      assertThat(model.embed("a fox")).isEqualTo(query);
      assertThat(model.embed(new Document("a fox"))).isEqualTo(document);
      assertThat(
              model.embed(
                  List.of(new Document("a fox"), new Document("a fox")),
                  EmbeddingOptions.builder().build(),
                  new TokenCountBatchingStrategy()))
          .containsExactly(document, document);
    }
  }

  @Test
  void optionsOutOfRangeFailTheContext() {
    runner
        .withPropertyValues("spring.ai.candle.chat.options.top-p=7")
        .run(context -> assertThat(context).getFailure().rootCause().hasMessageContaining("topP"));
  }

  @Test
  void healthAndMetersAreOfTheModel() {
    runner
        .withBean(ObservationRegistry.class, ObservationRegistry::create)
        .run(context -> {
          HealthIndicator health = context.getBean(HealthIndicator.class);
          assertThat(health.health().getStatus()).isEqualTo(Status.UP);
          SimpleMeterRegistry registry = new SimpleMeterRegistry();
          context.getBean(MeterBinder.class).bindTo(registry);
          context
              .getBean(CandleChatModel.class)
              .call(new Prompt("Hello", CandleChatOptions.builder().maxTokens(3).build()));
          assertThat(registry.get("candle.tokens.generated").functionCounter().count())
              .isEqualTo(3);
          context.getBean(CandleModel.class).close();
          assertThat(health.health().getStatus()).isEqualTo(Status.DOWN);
        });
  }
}
