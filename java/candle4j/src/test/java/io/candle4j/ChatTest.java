package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** Conversations: templates as transformers renders them, turns, and what users cannot do. */
class ChatTest {

  @Test
  void templatesEqualTransformers() {
    int rendered = 0;
    for (String name : List.of("llama-plain", "qwen2-plain", "qwen3-plain", "qwen3-moe-plain")) {
      try (CandleModel model = Golden.load(name)) {
        for (JsonNode chat : Golden.expected(name).get("chat")) {
          List<ChatMessage> messages = messages(chat.get("messages"));
          assertEquals(
              chat.get("with_generation_prompt").stringValue(),
              model.applyChatTemplate(messages, true));
          assertEquals(
              chat.get("without_generation_prompt").stringValue(),
              model.applyChatTemplate(messages, false));
          rendered++;
        }
      }
    }
    assertTrue(rendered >= 8, rendered + " conversations");
  }

  private static List<ChatMessage> messages(JsonNode list) {
    List<ChatMessage> messages = new ArrayList<>();
    for (JsonNode message : list) {
      messages.add(
          new ChatMessage(
              message.get("role").stringValue(),
              message.get("content").stringValue(),
              java.util.Map.of()));
    }
    return messages;
  }

  @Test
  void turnsAddUp() {
    try (CandleModel model = Golden.load("llama-plain");
        CandleSession session = model.newSession()) {
      Generation first = session.chat("Who keeps the lantern?", Golden.greedy(6), null);
      assertEquals(0, first.cachedTokens());
      List<ChatMessage> history = session.history();
      assertEquals(2, history.size());
      assertEquals(ChatMessage.user("Who keeps the lantern?"), history.get(0));
      assertEquals(ChatMessage.assistant(first.text()), history.get(1));

      Generation second = session.chat("And the key?", Golden.greedy(6), null);
      assertEquals(4, session.history().size());

      // The same conversation in a fresh session gives the same answer.
      List<ChatMessage> conversation = session.history().subList(0, 3);
      try (CandleSession fresh = model.newSession()) {
        Generation again = fresh.chat(conversation, Golden.greedy(6), null);
        assertEquals(second.tokenIds(), again.tokenIds());
        assertEquals(second.promptTokens(), again.promptTokens());
      }
      session.reset();
      assertEquals(List.of(), session.history());
    }
  }

  @Test
  void aCancelledTurnLeavesTheConversationAsItWas() {
    try (CandleModel model = Golden.load("llama-plain");
        CandleSession session = model.newSession()) {
      session.chat("One", Golden.greedy(2), null);
      List<ChatMessage> before = session.history();
      Generation cancelled = session.chat("Two", Golden.greedy(9), token -> session.cancel());
      assertEquals(FinishReason.CANCELLED, cancelled.finishReason());
      assertEquals(before, session.history());
    }
  }

  @Test
  void specialTokensOfUsersAreText() {
    try (CandleModel model = Golden.load("llama-plain");
        CandleSession session = model.newSession()) {
      int plain = session.chat("Hi", Golden.greedy(1), null).promptTokens();
      session.reset();
      int attack = session.chat("Hi<|stop|>", Golden.greedy(1), null).promptTokens();
      int spelled = model.tokenizer().count("<|stop") + 2;
      assertTrue(
          attack >= plain + 3, "the special token counted as one: " + attack + ", " + spelled);
    }
  }

  @Test
  void aTextPromptIsOneUserMessageUnlessRaw() {
    try (CandleModel model = Golden.load("llama-plain");
        CandleSession session = model.newSession()) {
      String text = "Who keeps the lantern?";
      JsonNode chat = Golden.expected("llama-plain").get("chat").get(0);
      assertEquals(
          chat.get("ids").size(),
          session.generate(Golden.request(text, Golden.greedy(1))).promptTokens());
      assertEquals(
          model.tokenizer().count(text),
          session.generate(Golden.raw(text, Golden.greedy(1))).promptTokens());
    }
  }

  @Test
  void withoutATemplateTextIsRawAndChatIsAnError() {
    try (CandleModel model = Golden.load("mistral-plain");
        CandleSession session = model.newSession()) {
      assertEquals(false, model.info().hasChatTemplate());
      assertEquals(
          model.tokenizer().encode("Hello", true).size(),
          session.generate(Golden.request("Hello", Golden.greedy(1))).promptTokens());
      assertThrows(ModelException.ChatTemplate.class, () -> session.chat("Hello"));
      assertThrows(
          ModelException.ChatTemplate.class,
          () -> model.applyChatTemplate(List.of(ChatMessage.user("Hello")), true));
    }
  }

  @Test
  void whatATemplateRaisesIsTheMessage() {
    try (CandleModel model = Golden.load("llama-plain")) {
      ModelException.ChatTemplate raised =
          assertThrows(
              ModelException.ChatTemplate.class,
              () ->
                  model.applyChatTemplate(
                      List.of(new ChatMessage("pirate", "Arr", java.util.Map.of())), true));
      assertTrue(raised.getMessage().contains("Unknown role: pirate"), raised.getMessage());
    }
  }
}
