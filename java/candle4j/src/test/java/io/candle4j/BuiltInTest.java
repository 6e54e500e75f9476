package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The model that comes as a Maven artifact, against what transformers makes of the same file. */
class BuiltInTest {
  /** Weights of 4 bits decide by rounding what transformers decides by less than this, in nats. */
  private static final double LEAD = 1;

  private static JsonNode expected;
  private static CandleModel model;

  @BeforeAll
  static void load() throws IOException {
    try (InputStream in = BuiltInTest.class.getResourceAsStream("/smollm2.json")) {
      expected = JsonMapper.shared().readTree(in);
    }
    model = CandleModel.load(CandleModel.BUILT_IN);
  }

  @AfterAll
  static void close() {
    model.close();
  }

  @Test
  void itDescribesItself() {
    ModelInfo info = model.info();
    assertEquals("llama", info.architecture());
    // Q4_1 is kept where there are kernels for it.
    assertTrue(List.of("q4_1", "q8_0").contains(info.precision()), info.precision());
    assertEquals(49_152, info.vocabSize());
    assertEquals(30, info.layers());
    assertEquals(List.of(0, 2), info.eosTokenIds());
    assertTrue(info.hasChatTemplate());
    assertTrue(info.path().endsWith("SmolLM2-135M-Instruct.Q4_1.gguf"), "" + info.path());
  }

  @Test
  void textsBecomeTheSameTokens() {
    assertTrue(expected.get("texts").size() >= 10);
    for (JsonNode text : expected.get("texts")) {
      TokenIds ids = TokenIds.of(Golden.ids(text.get("ids")));
      String string = text.get("text").stringValue();
      assertEquals(ids, model.tokenizer().encode(string, true), string);
      assertEquals(text.get("decoded").stringValue(), model.tokenizer().decode(ids, false));
    }
  }

  @Test
  void continuationsAgreeWhereTransformersIsSure() {
    try (CandleSession session = model.newSession()) {
      for (String kind : List.of("chats", "continued")) {
        for (JsonNode sequence : expected.get(kind)) {
          agrees(session, sequence);
        }
      }
    }
  }

  private static void agrees(CandleSession session, JsonNode sequence) {
    int[] prompt = Golden.ids(sequence.get("prompt"));
    List<Integer> greedy = Golden.list(Golden.ids(sequence.get("greedy")));
    List<Integer> ours =
        session.generate(Golden.request(prompt, Golden.greedy(greedy.size()))).tokenIds();
    int same = 0;
    while (same < greedy.size() && greedy.get(same).equals(ours.get(same))) {
      same++;
    }
    if (same < greedy.size()) {
      double lead = sequence.get("leads").get(same).asDouble();
      assertTrue(lead < LEAD, "token " + same + " differs, with a lead of " + lead);
    }
    Score score = session.score(TokenIds.of(prompt), 50);
    for (JsonNode top : sequence.get("top")) {
      double logprob =
          score.top().stream()
              .filter(token -> token.id() == top.get(0).intValue())
              .findFirst()
              .orElseThrow()
              .logprob();
      assertEquals(top.get(1).asDouble(), logprob, 0.6);
    }
  }

  @Test
  void aQuestionIsOneUserMessageAndItsSpecialTokensAreText() {
    try (CandleSession session = model.newSession()) {
      for (JsonNode chat : expected.get("chats")) {
        String question = chat.get("question").stringValue();
        Generation answer = session.generate(Golden.request(question, Golden.greedy(8)));
        assertEquals(chat.get("prompt").size(), answer.promptTokens(), question);
        int[] prompt = Golden.ids(chat.get("prompt"));
        assertEquals(
            session.generate(Golden.request(prompt, Golden.greedy(8))).tokenIds(),
            session.generate(Golden.request(question, Golden.greedy(8))).tokenIds());
      }
    }
  }

  @Test
  void aSessionNeedsNoModelToBeNamed() {
    try (CandleSession session = CandleSession.open()) {
      StringBuilder streamed = new StringBuilder();
      Generation answer =
          session.generate(
              Golden.request(
                  "What is the capital of France?",
                  GenerateOptions.greedy().toBuilder().maxTokens(40).build()),
              token -> streamed.append(token.text()));
      assertFalse(answer.text().isBlank());
      assertEquals(answer.text(), streamed.toString());
    }
  }
}
