package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Models that think before they answer. */
class ReasoningTest {
  /** As Qwen3's: a thought is open in the prompt, unless thinking is off. */
  private static final String TEMPLATE =
      """
      {%- for message in messages %}{{ message.role + ': ' + message.content + '\\n' }}{% endfor -%}
      {%- if add_generation_prompt %}{{ 'assistant: <think>\\n' }}
      {%- if enable_thinking is defined and not enable_thinking %}{{ '\\n</think>\\n\\n' }}{% endif %}
      {%- endif %}\
      """;

  @TempDir Path folder;

  private CandleModel model(String template) throws IOException {
    try (Stream<Path> files = Files.list(Golden.folder("llama-plain"))) {
      for (Path file : files.toList()) {
        Files.copy(file, folder.resolve(file.getFileName()));
      }
    }
    Files.writeString(folder.resolve("chat_template.jinja"), template);
    return CandleModel.builder().path(folder).load();
  }

  private static Request request(int tokens, Thinking thinking) {
    return Golden.request("Who keeps the lantern?", Golden.greedy(tokens)).toBuilder()
        .options(Golden.greedy(tokens).toBuilder().thinking(thinking).build())
        .build();
  }

  @Test
  void aThoughtIsSplitFromTheAnswerAndEndsWithItsBudget() throws IOException {
    try (CandleModel model = model(TEMPLATE);
        CandleSession session = model.newSession()) {
      List<Token> tokens = new ArrayList<>();
      Generation all = session.generate(request(40, Thinking.ON), tokens::add);
      assertEquals("", all.text());
      assertFalse(all.reasoning().orElseThrow().isEmpty());
      assertTrue(tokens.stream().allMatch(token -> token.kind() == Token.Kind.REASONING));

      tokens.clear();
      Generation bounded = session.generate(request(40, Thinking.budget(5)), tokens::add);
      assertEquals(40, bounded.completionTokens());
      assertEquals(all.tokenIds().subList(0, 5), bounded.tokenIds().subList(0, 5));
      String thought = model.tokenizer().decode(bounded.tokenIds().subList(0, 5)).strip();
      assertEquals(thought, bounded.reasoning().orElseThrow().strip());
      assertFalse(bounded.text().isEmpty());
      assertFalse(bounded.text().contains("think>"), bounded.text());
      StringBuilder text = new StringBuilder();
      StringBuilder reasoning = new StringBuilder();
      for (Token token : tokens) {
        text.append(token.text());
        reasoning.append(token.reasoning());
      }
      assertEquals(bounded.text(), text.toString());
      assertEquals(bounded.reasoning(), Optional.of(reasoning.toString()));
      assertEquals(Token.Kind.TEXT, tokens.getLast().kind());
      // Probabilities are told of tokens that are forced, too.
      GenerateOptions told =
          request(20, Thinking.budget(5)).options().toBuilder().logprobs(1).build();
      Generation same =
          session.generate(request(20, Thinking.ON).toBuilder().options(told).build());
      assertEquals(bounded.tokenIds().subList(0, 20), same.tokenIds());
      assertEquals(same.tokenIds(), same.logprobs().stream().map(TokenLogprob::id).toList());

      Generation off = session.generate(request(8, Thinking.OFF));
      assertEquals(Optional.empty(), off.reasoning());
      assertFalse(off.text().isEmpty());
    }
  }

  @Test
  void aThoughtGoesIntoTheHistoryAsThought() throws IOException {
    try (CandleModel model = model(TEMPLATE);
        CandleSession session = model.newSession()) {
      CandleChat chat =
          CandleChat.builder(session)
              .options(Golden.greedy(30).toBuilder().thinking(Thinking.budget(4)).build())
              .build();
      Generation answer = chat.say("Hello");
      ChatMessage.Assistant message = (ChatMessage.Assistant) chat.history().getLast();
      assertEquals(answer.reasoning(), message.reasoning());
      assertEquals(answer.text(), message.text());
    }
  }

  @Test
  void whatATemplateCannotDoIsRefused() throws IOException {
    try (CandleModel plain = Golden.load("llama-plain");
        CandleSession session = plain.newSession()) {
      assertThrows(IllegalArgumentException.class, () -> session.generate(request(1, Thinking.ON)));
      assertEquals(1, session.generate(request(1, Thinking.OFF)).completionTokens());
    }
    String always = "{{ messages[0].content }}<think>\n{# </think> #}";
    try (CandleModel model = model(always);
        CandleSession session = model.newSession()) {
      assertThrows(
          IllegalArgumentException.class, () -> session.generate(request(1, Thinking.OFF)));
      assertTrue(session.generate(request(4, Thinking.ON)).reasoning().isPresent());
    }
    assertThrows(IllegalArgumentException.class, () -> Thinking.budget(0));
  }
}
