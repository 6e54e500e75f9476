package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import tools.jackson.databind.JsonNode;

/**
 * Every golden checkpoint through the Java API: equal to transformers by the library's own engine,
 * and by Candle's models equal or refused by name.
 */
class OracleTest {
  /** What Candle's own models would compute wrongly, by the key that the refusal must name. */
  private static final Map<String, String> REFUSED =
      Map.ofEntries(
          Map.entry("llama-attention-bias", "attention_bias"),
          Map.entry("llama-both-biases", "attention_bias"),
          Map.entry("llama-mlp-bias", "mlp_bias"),
          Map.entry("llama-head-dim", "head_dim"),
          Map.entry("llama-gelu", "hidden_act"),
          Map.entry("llama-rope-dynamic", "rope_type"),
          Map.entry("llama-rope-dynamic-crossing", "rope_type"),
          Map.entry("llama-rope-linear", "rope_type"),
          Map.entry("llama-rope-longrope", "rope_type"),
          Map.entry("llama-rope-longrope-crossing", "rope_type"),
          Map.entry("llama-rope-yarn", "rope_type"),
          Map.entry("llama-rope-yarn-attention-factor", "rope_type"),
          Map.entry("llama-rope-yarn-mscale", "rope_type"),
          Map.entry("mistral-rope-yarn", "rope_type"),
          Map.entry("mistral-window", "sliding_window"),
          Map.entry("qwen2-layer-types", "sliding_window"),
          Map.entry("qwen2-rope-yarn", "rope_type"),
          Map.entry("qwen2-window", "sliding_window"),
          Map.entry("qwen3-rope-yarn", "rope_type"),
          Map.entry("qwen3-window", "sliding_window"),
          Map.entry("qwen3-moe-mlp-only-layers", "mlp_only_layers"),
          Map.entry("qwen3-moe-window", "sliding_window"),
          Map.entry("smollm3-plain", "model_type"),
          Map.entry("smollm3-window", "model_type"),
          Map.entry("granite-plain", "model_type"),
          Map.entry("granite-biases", "model_type"),
          Map.entry("olmo2-plain", "model_type"),
          Map.entry("olmo2-bias", "model_type"),
          Map.entry("gemma3-plain", "model_type"),
          Map.entry("gemma3-layer-types", "model_type"),
          Map.entry("gemma3-biases", "model_type"));

  @TestFactory
  Stream<DynamicTest> everyCase() {
    return Golden.cases().stream()
        .map(name -> DynamicTest.dynamicTest(name, () -> equalsTransformers(name, Engine.FUSED)));
  }

  @TestFactory
  Stream<DynamicTest> everyCaseOnCandlesModels() {
    return Golden.cases().stream()
        .map(name ->
            DynamicTest.dynamicTest(
                name,
                () -> {
                  if (REFUSED.containsKey(name)) {
                    refuses(name, REFUSED.get(name));
                  } else {
                    equalsTransformers(name, Engine.CANDLE);
                  }
                }));
  }

  private static CandleModel load(String name, Engine engine) {
    return CandleModel.builder().path(Golden.folder(name)).engine(engine).load();
  }

  private static void refuses(String name, String key) {
    ModelException.Unsupported refusal =
        assertThrows(ModelException.Unsupported.class, () -> load(name, Engine.CANDLE).close());
    assertEquals(key, refusal.detail().get("key"));
  }

  private static void equalsTransformers(String name, Engine engine) {
    try (CandleModel model = load(name, engine);
        CandleSession session = model.newSession()) {
      assertEquals(engine, model.info().engine());
      for (JsonNode sequence : Golden.expected(name).get("sequences")) {
        int[] prompt = Golden.ids(sequence.get("prompt"));
        Generation generation = session.generate(Golden.request(prompt, Golden.greedy(16)));
        assertEquals(
            Golden.list(Golden.ids(sequence.get("greedy"))),
            generation.tokenIds(),
            prompt.length + " tokens");
        assertEquals(FinishReason.LENGTH, generation.finishReason());
        assertEquals(prompt.length, generation.promptTokens());

        Score score = session.score(TokenIds.of(prompt), 5);
        JsonNode logprobs = sequence.get("logprobs");
        assertEquals(logprobs.size(), score.logprobs().size());
        for (int i = 0; i < logprobs.size(); i++) {
          assertEquals(logprobs.get(i).asDouble(), score.logprobs().get(i).logprob(), 1e-3);
          assertEquals(prompt[i + 1], score.logprobs().get(i).id());
        }
        JsonNode top = sequence.get("top");
        assertEquals(top.size(), score.top().size());
        for (int i = 0; i < top.size(); i++) {
          assertEquals(top.get(i).get(0).asInt(), score.top().get(i).id());
          assertEquals(top.get(i).get(1).asDouble(), score.top().get(i).logprob(), 1e-3);
        }
      }
    }
  }
}
