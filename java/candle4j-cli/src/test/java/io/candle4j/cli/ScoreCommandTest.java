package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

class ScoreCommandTest {
  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2})
  void equalsTransformers(int index) {
    JsonNode sequence = Golden.expected("llama-plain").get("sequences").get(index);
    Cli.Result result =
        Cli.run(
            "score",
            "--model",
            Golden.LLAMA,
            "--tokens",
            Golden.joined(sequence.get("prompt")),
            "--top",
            "5",
            "--json");
    JsonNode score = result.json();
    assertEquals(List.of("logprobs", "top"), new ArrayList<>(score.propertyNames()));
    JsonNode logprobs = sequence.get("logprobs");
    assertEquals(logprobs.size(), score.get("logprobs").size());
    for (int i = 0; i < logprobs.size(); i++) {
      assertEquals(logprobs.get(i).doubleValue(), score.get("logprobs").get(i).doubleValue(), 1e-3);
    }
    JsonNode top = sequence.get("top");
    assertEquals(top.size(), score.get("top").size());
    for (int i = 0; i < top.size(); i++) {
      JsonNode token = score.get("top").get(i);
      assertEquals(List.of("id", "logprob"), new ArrayList<>(token.propertyNames()));
      assertEquals(top.get(i).get(0).intValue(), token.get("id").intValue());
      assertEquals(top.get(i).get(1).doubleValue(), token.get("logprob").doubleValue(), 1e-3);
    }
  }

  @Test
  void aTextIsScoredAsItsTokens() {
    JsonNode text = Golden.expected("llama-gqa").get("text").get(0);
    String model = Golden.folder("llama-gqa").toString();
    JsonNode byText =
        Cli.run("score", "--model", model, "--text", text.get("text").stringValue(), "--json")
            .json();
    // This tokenizer begins each text with a token of its own.
    assertEquals(text.get("ids_with_special"), byText.get("token_ids"));
    JsonNode byTokens =
        Cli.run(
                "score",
                "--model",
                model,
                "--json",
                "--tokens",
                Golden.joined(text.get("ids_with_special")))
            .json();
    assertEquals(byTokens.get("logprobs"), byText.get("logprobs"));
    assertEquals(byTokens.get("top"), byText.get("top"));
  }

  @Test
  void aTableForPeople() {
    JsonNode sequence = Golden.sequence("llama-plain");
    Cli.Result result =
        Cli.run(
            "score",
            "--model",
            Golden.LLAMA,
            "--tokens",
            Golden.joined(sequence.get("prompt")),
            "--top",
            "2");
    List<String> lines = result.lines();
    assertEquals("TOKEN  LOGPROB  TEXT", lines.get(0).replaceAll(" {2,}", "  "));
    assertTrue(lines.get(2).matches(" +357 +-7\\.37\\d\\d +\".*\""), lines.get(2));
    assertTrue(
        lines.get(6).matches("sum -42\\.38\\d\\d, perplexity 399\\d\\d\\.\\d+"), lines.get(6));
    assertTrue(lines.get(9).matches(" +287 +-0\\.266\\d +\".*\""), lines.get(9));
    assertEquals(11, lines.size());
  }
}
