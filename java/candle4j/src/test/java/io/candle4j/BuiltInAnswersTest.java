package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** How the model that comes as a Maven artifact answers by the sampling that comes with it. */
class BuiltInAnswersTest {
  private static final int SEEDS = 5;
  private static final int LIMIT = 700;
  private static final int PARALLEL = 8;

  /** Tokens in a row that may occur three times in an answer. */
  private static final int RUN = 8;

  private static JsonNode questions;
  private static CandleModel model;

  @BeforeAll
  static void load() throws IOException {
    try (InputStream in = BuiltInAnswersTest.class.getResourceAsStream("/answers.json")) {
      questions = JsonMapper.shared().readTree(in);
    }
    model = CandleModel.load(CandleModel.BUILT_IN);
  }

  @AfterAll
  static void close() {
    model.close();
  }

  @Test
  void answersEndAndDoNotRepeatThemselves() {
    List<String> prompts =
        questions.get("prompts").valueStream().map(JsonNode::stringValue).toList();
    assertEquals(40, prompts.size());
    List<String> unended = new ArrayList<>();
    List<String> repeating = new ArrayList<>();
    for (int seed = 1; seed <= SEEDS; seed++) {
      GenerateOptions options = GenerateOptions.builder().maxTokens(LIMIT).seed(seed).build();
      List<Generation> answers = answers(prompts, options);
      for (int i = 0; i < prompts.size(); i++) {
        Generation answer = answers.get(i);
        String name = prompts.get(i) + " [" + seed + "]";
        if (answer.finishReason() != FinishReason.STOP) {
          unended.add(name);
        }
        if (mostOften(answer.tokenIds()) > 3) {
          repeating.add(name);
        }
      }
    }
    int total = prompts.size() * SEEDS;
    System.out.println(
        "answers of the built-in model: " + (total - unended.size()) + " of " + total + " end");
    assertTrue(unended.size() <= total / 20, unended.toString());
    assertEquals(List.of(), repeating);
  }

  @Test
  void factsComeOutRightAsOftenAsWithGreedyDecoding() {
    List<JsonNode> facts = questions.get("facts").valueStream().toList();
    assertEquals(25, facts.size());
    GenerateOptions options = GenerateOptions.builder().maxTokens(60).build();
    int greedy = right(facts, options.toBuilder().temperature(0).build());
    int sampled = 0;
    for (int seed = 1; seed <= SEEDS; seed++) {
      sampled += right(facts, options.toBuilder().seed(seed).build());
    }
    System.out.println(
        "facts of the built-in model: "
            + sampled
            + " of "
            + SEEDS * facts.size()
            + " sampled, "
            + greedy
            + " greedy");
    assertTrue(greedy >= 15, greedy + " of " + facts.size());
    // One answer more or less is chance.
    assertTrue(sampled >= SEEDS * greedy - 1, sampled + " sampled, " + greedy + " greedy");
  }

  @Test
  void temperatureZeroIsGreedy() {
    List<String> prompts = List.of("Tell me a story about a fox", "List five fruits");
    GenerateOptions zero = GenerateOptions.builder().maxTokens(200).temperature(0).build();
    GenerateOptions greedy = GenerateOptions.greedy().toBuilder().maxTokens(200).build();
    assertEquals(
        answers(prompts, greedy).stream().map(Generation::tokenIds).toList(),
        answers(prompts, zero).stream().map(Generation::tokenIds).toList());
  }

  private static int right(List<JsonNode> facts, GenerateOptions options) {
    List<Generation> answers =
        answers(facts.stream().map(fact -> fact.get("question").stringValue()).toList(), options);
    int right = 0;
    for (int i = 0; i < facts.size(); i++) {
      String text = answers.get(i).text().toLowerCase(Locale.ROOT);
      boolean isRight =
          facts
              .get(i)
              .get("answers")
              .valueStream()
              .anyMatch(answer -> text.contains(answer.stringValue().toLowerCase(Locale.ROOT)));
      right += isRight ? 1 : 0;
    }
    return right;
  }

  private static List<Generation> answers(List<String> prompts, GenerateOptions options) {
    return model.generateAll(Golden.requests(prompts, options), PARALLEL, Golden.IGNORED).stream()
        .map(BatchResult::orElseThrow)
        .toList();
  }

  /** How often the run of tokens occurs that occurs most often. */
  private static int mostOften(List<Integer> ids) {
    Map<List<Integer>, Integer> counts = new HashMap<>();
    int most = 0;
    for (int i = 0; i + RUN <= ids.size(); i++) {
      most = Math.max(most, counts.merge(ids.subList(i, i + RUN), 1, Integer::sum));
    }
    return most;
  }
}
