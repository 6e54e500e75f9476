package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Conversations. */
class CandleChatTest {
  private static CandleModel model;

  @TempDir Path folder;

  @BeforeAll
  static void load() {
    model = Golden.load("llama-plain");
  }

  @AfterAll
  static void close() {
    model.close();
  }

  private static CandleChat chat(CandleSession session, int tokens) {
    return CandleChat.builder(session)
        .system("You are a fox.")
        .options(Golden.greedy(tokens))
        .build();
  }

  @Test
  void turnsAddUpAndComputeOnlyWhatIsNew() {
    try (CandleSession session = model.newSession();
        CandleSession fresh = model.newSession()) {
      CandleChat chat = chat(session, 6);
      Generation first = chat.say("Who keeps the lantern?");
      assertEquals(
          List.of(
              ChatMessage.system("You are a fox."),
              ChatMessage.user("Who keeps the lantern?"),
              first.toMessage()),
          chat.history());
      Generation second = chat.say("And the key?");
      assertEquals(5, chat.history().size());
      assertTrue(second.cachedTokens() >= first.promptTokens(), second.cachedTokens() + " tokens");
      // The same conversation at once gives the same answer.
      List<ChatMessage> all = chat.history().subList(0, 4);
      Generation again = fresh.generate(Golden.request(all, Golden.greedy(6)));
      assertEquals(second.tokenIds(), again.tokenIds());
      assertEquals(second.promptTokens(), again.promptTokens());
      assertThrows(UnsupportedOperationException.class, () -> chat.history().clear());
    }
  }

  @Test
  void otherCallsOnTheSessionLeaveTheChatsPrefixAlone() {
    try (CandleSession session = model.newSession()) {
      CandleChat chat = chat(session, 6);
      Generation first = chat.say("Who keeps the lantern, and since when, and what for?");
      session.generate(Golden.request("Something else altogether", Golden.greedy(8)));
      session.score(TokenIds.of(9, 8, 7, 6, 5, 4, 3, 2, 1), 1);
      Generation second = chat.say("Why?");
      assertTrue(
          second.cachedTokens() >= first.promptTokens() - 1,
          second.cachedTokens() + " of " + first.promptTokens());
    }
  }

  @Test
  void everyVerbTakesATurn() throws Exception {
    try (CandleSession session = model.newSession()) {
      CandleChat chat = chat(session, 4);
      List<String> pieces = new ArrayList<>();
      Generation said = chat.say("One", token -> pieces.add(token.text()));
      assertEquals(said.text(), String.join("", pieces));
      Generation streamed;
      try (TokenStream tokens = chat.stream("Two")) {
        tokens.forEach(token -> {});
        streamed = tokens.result();
      }
      Generation submitted = chat.submit("Three").get();
      Generation told =
          chat.say(
              List.of(
                  new ChatMessage.Other("user", "Four", Map.of()), ChatMessage.user("or five")));
      assertEquals(10, chat.history().size());
      assertEquals(streamed.toMessage(), chat.history().get(4));
      assertEquals(submitted.toMessage(), chat.history().get(6));
      assertEquals(told.toMessage(), chat.history().getLast());
    }
  }

  @Test
  void turnsThatDoNotEndByThemselvesDoNotCount() {
    try (CandleSession session = model.newSession()) {
      CandleChat chat = chat(session, 300);
      assertEquals(FinishReason.CANCELLED, chat.say("One", token -> chat.cancel()).finishReason());
      assertThrows(
          ArithmeticException.class,
          () ->
              chat.say(
                  "Two",
                  token -> {
                    throw new ArithmeticException();
                  }));
      CompletableFuture<Generation> future = chat.submit("Three");
      future.cancel(true);
      try (TokenStream tokens = chat.stream("Four")) {
        assertTrue(tokens.iterator().hasNext());
      }
      assertEquals(List.of(ChatMessage.system("You are a fox.")), chat.history());
    }
  }

  @Test
  void checkpointsForksAndFiles() {
    try (CandleSession session = model.newSession()) {
      CandleChat chat = chat(session, 4);
      chat.say("One");
      CandleChat.Checkpoint one = chat.checkpoint();
      Generation two = chat.say("Two");
      CandleChat.Checkpoint both = chat.checkpoint();
      try (CandleChat fork = chat.fork()) {
        assertEquals(chat.history(), fork.history());
        Generation forked = fork.say("Three");
        assertTrue(forked.cachedTokens() >= two.promptTokens());
        assertEquals(5, chat.history().size());
      }
      chat.rewind(one);
      assertEquals(3, chat.history().size());
      Generation again = chat.say("Two");
      assertEquals(two.tokenIds(), again.tokenIds());
      assertEquals(again.promptTokens() - 1, again.cachedTokens());
      chat.rewind(both);
      assertEquals(5, chat.history().size());

      Path file = folder.resolve("chat.json");
      chat.save(file);
      List<ChatMessage> saved = chat.history();
      chat.say("More");
      chat.load(file);
      assertEquals(saved, chat.history());
    }
  }

  @Test
  void aFullContextFailsOrDropsTheOldestTurns() {
    try (CandleSession session = model.newSession()) {
      CandleChat failing = chat(session, 16);
      ContextFullException full =
          assertThrows(
              ContextFullException.class,
              () -> {
                while (true) {
                  failing.say("Tell me about the lantern, the key and the old lighthouse.");
                }
              });
      assertEquals(512, full.limit());
      List<ChatMessage> before = failing.history();
      assertThrows(
          ContextFullException.class,
          () -> failing.say("Tell me about the lantern, the key and the old lighthouse."));
      assertEquals(before, failing.history());

      CandleChat dropping =
          CandleChat.builder(session)
              .history(before)
              .options(Golden.greedy(16))
              .contextPolicy(ContextPolicy.DROP_OLDEST)
              .build();
      int dropped = 0;
      int computed = 0;
      for (int i = 0; i < 100; i++) {
        Generation answer = dropping.say("Tell me more about the lantern, please.");
        dropped += answer.droppedMessages();
        computed += answer.promptTokens() - answer.cachedTokens();
        assertEquals(16, answer.completionTokens());
        assertEquals(before.getFirst(), dropping.history().getFirst());
        assertInstanceOf(ChatMessage.User.class, dropping.history().get(1));
      }
      assertTrue(dropped >= 150 && dropped % 2 == 0, dropped + " messages");
      // Half of the context is computed anew once in some turns, and else only what is new.
      assertTrue(computed < 100 * 120, computed + " tokens");
      String endless = "word ".repeat(2000);
      assertThrows(ContextFullException.class, () -> dropping.say(endless));

      ContextPolicy mine = (messages, e) -> messages.subList(messages.size() - 1, messages.size());
      CandleChat own =
          CandleChat.builder(session)
              .history(before)
              .options(Golden.greedy(4))
              .contextPolicy(mine)
              .build();
      int all = own.history().size();
      assertEquals(
          all, own.say("Tell me more about it, " + "please ".repeat(40)).droppedMessages());
      assertEquals(2, own.history().size());
    }
  }

  @Test
  void messagesAreReadAndWrittenAsOpenAiDoes() throws Exception {
    ToolCall call = new ToolCall("call_1", "weather", "{\"city\":\"Bonn\"}");
    List<ChatMessage> messages =
        List.of(
            ChatMessage.system("S"),
            ChatMessage.user("U"),
            new ChatMessage.Assistant("", Optional.of("Hm."), List.of(call)),
            ChatMessage.tool(call, "Rain"),
            ChatMessage.assistant("It rains."),
            new ChatMessage.Other("developer", "D", Map.of("name", "x")));
    assertEquals(messages, ChatMessage.parse(ChatMessage.toJson(messages)));
    assertEquals(
        List.of(ChatMessage.user("ab")),
        ChatMessage.parse(
            "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"},"
                + " {\"type\": \"text\", \"text\": \"b\"}]}]"));
    for (String[] wrong :
        new String[][] {
          {"{", "messages"},
          {"{}", "messages: expected an array"},
          {"[1]", "messages[0]"},
          {"[{\"content\": \"x\"}]", "messages[0].role"},
          {"[{\"role\": \"user\", \"content\": 5}]", "messages[0].content"},
          {
            "[{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]",
            "messages[0].content[0].type"
          },
          {
            "[{\"role\": \"assistant\", \"tool_calls\": [{\"id\": \"1\"}]}]",
            "messages[0].tool_calls[0].function"
          }
        }) {
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> ChatMessage.parse(wrong[0]));
      assertTrue(String.valueOf(e.getMessage()).startsWith(wrong[1]), e.getMessage());
    }
    Path bad = folder.resolve("bad.json");
    Files.writeString(bad, "[]x");
    try (CandleSession session = model.newSession()) {
      CandleChat chat = chat(session, 1);
      assertThrows(IllegalArgumentException.class, () -> chat.load(bad));
      assertFalse(chat.history().isEmpty());
    }
  }
}
