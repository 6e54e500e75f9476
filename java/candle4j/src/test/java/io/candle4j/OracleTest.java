package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

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
          Map.entry("qwen3-moe-window", "sliding_window"));

  /** The families that Candle has models of. */
  private static final Set<String> CANDLES =
      Set.of("llama", "mistral", "qwen2", "qwen3", "qwen3_moe");

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
                  String key = CANDLES.contains(family(name)) ? REFUSED.get(name) : "model_type";
                  if (key != null) {
                    refuses(name, key);
                  } else {
                    equalsTransformers(name, Engine.CANDLE);
                  }
                }));
  }

  private static String family(String name) {
    Path config = Path.of(Golden.folder(name).toString(), "config.json");
    return JsonMapper.shared().readTree(config.toFile()).get("model_type").stringValue();
  }

  private static CandleModel load(String name, Engine engine) {
    // Matrices that a folder holds in fewer bits are rounded otherwise.
    return CandleModel.builder()
        .path(Golden.folder(name))
        .engine(engine)
        .precision(Precision.F32)
        .load();
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
