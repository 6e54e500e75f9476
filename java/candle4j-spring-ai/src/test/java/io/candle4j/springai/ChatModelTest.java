package io.candle4j.springai;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.candle4j.CandleModel;
import io.candle4j.GenerateOptions;
import io.candle4j.Request;
import java.net.URI;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.springframework.ai.chat.client.AdvisorParams;
import org.springframework.ai.chat.client.ChatClient;
import org.springframework.ai.chat.messages.AssistantMessage;
import org.springframework.ai.chat.messages.ToolResponseMessage;
import org.springframework.ai.chat.messages.UserMessage;
import org.springframework.ai.chat.model.ChatResponse;
import org.springframework.ai.chat.prompt.ChatOptions;
import org.springframework.ai.chat.prompt.Prompt;
import org.springframework.ai.content.Media;
import org.springframework.ai.model.tool.ToolCallingChatOptions;
import org.springframework.ai.tool.ToolCallback;
import org.springframework.ai.tool.function.FunctionToolCallback;
import org.springframework.util.MimeTypeUtils;

/** Spring AI's chats on the built-in model; what it answers is what the library says. */
class ChatModelTest {
  private static CandleModel model;

  @BeforeAll
  static void load() {
    model = CandleModel.load(CandleModel.BUILT_IN);
  }

  @AfterAll
  static void close() {
    model.close();
  }

  private static CandleChatModel chat() {
    return CandleChatModel.builder(model)
        .options(
            CandleChatOptions.builder().model("smollm2").temperature(0.0).maxTokens(30).build())
        .build();
  }

  @Test
  void whatAPromptLeavesOutIsTheDefault() {
    Prompt prompt = new Prompt("Count up.", CandleChatOptions.builder().seed(1L).build());
    assertEquals(
        "LENGTH",
        CandleChatModel.builder(model)
            .options(CandleChatOptions.builder().maxTokens(2).build())
            .build()
            .call(prompt)
            .getResult()
            .getMetadata()
            .getFinishReason());
  }

  record City(String name) {}

  private static ToolCallback weather(AtomicInteger calls) {
    return FunctionToolCallback.builder(
            "weather",
            (City city) -> {
              calls.incrementAndGet();
              return "Sunny in " + city.name();
            })
        .description("The weather in a city.")
        .inputType(City.class)
        .build();
  }

  @Test
  void answersAreThoseOfTheLibrary() {
    ChatResponse response = chat().call(new Prompt("What is the capital of France?"));
    try (var session = model.newSession()) {
      var expected =
          session.generate(
              Request.of(
                  "What is the capital of France?",
                  GenerateOptions.builder().temperature(0).maxTokens(30).build()));
      assertEquals(expected.text(), response.getResult().getOutput().getText());
      assertEquals("STOP", response.getResult().getMetadata().getFinishReason());
      assertEquals(expected.promptTokens(), response.getMetadata().getUsage().getPromptTokens());
      assertEquals(
          expected.completionTokens(), response.getMetadata().getUsage().getCompletionTokens());
      assertEquals("smollm2", response.getMetadata().getModel());
    }
  }

  @Test
  void streamsJoinToTheAnswer() {
    Prompt prompt = new Prompt("Name three colours.");
    String whole = chat().call(prompt).getResult().getOutput().getText();
    List<ChatResponse> parts = chat().stream(prompt).collectList().block(Duration.ofMinutes(1));
    assertNotNull(parts);
    assertEquals(
        whole,
        parts.stream()
            .map(part -> part.getResult().getOutput().getText())
            .collect(Collectors.joining()));
    assertTrue(parts.getLast().getMetadata().getUsage().getCompletionTokens() > 0);
    assertEquals(1, parts.stream().map(part -> part.getMetadata().getId()).distinct().count());
  }

  @Test
  void whoCancelsAStreamEndsTheAnswer() throws Exception {
    AtomicInteger parts = new AtomicInteger();
    CandleChatOptions endless =
        CandleChatOptions.builder().maxTokens(4000).temperature(1.0).build();
    chat().stream(new Prompt("Write a very long story.", endless))
        .take(3)
        .doOnNext(part -> parts.incrementAndGet())
        .blockLast(Duration.ofMinutes(1));
    assertEquals(3, parts.get());
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(5);
    while (model.metrics().active() > 0) {
      assertTrue(System.nanoTime() < end, "it goes on");
      Thread.sleep(5);
    }
  }

  @Test
  void optionsOfOthersCount() {
    ChatOptions few = ChatOptions.builder().maxTokens(2).build();
    ChatResponse response = chat().call(new Prompt("Tell a story.", few));
    assertEquals(2, response.getMetadata().getUsage().getCompletionTokens());
    assertEquals("LENGTH", response.getResult().getMetadata().getFinishReason());
    ChatOptions hot = ChatOptions.builder().temperature(-1.0).build();
    assertThrows(IllegalArgumentException.class, () -> chat().call(new Prompt("Hello", hot)));
    ChatOptions other = ChatOptions.builder().model("gpt-4").build();
    assertTrue(
        assertThrows(IllegalArgumentException.class, () -> chat().call(new Prompt("Hello", other)))
            .getMessage()
            .contains("gpt-4"));
  }

  @Test
  void picturesAreRefused() {
    UserMessage picture =
        UserMessage.builder()
            .text("What is this?")
            .media(new Media(MimeTypeUtils.IMAGE_PNG, URI.create("https://example.org/a.png")))
            .build();
    assertThrows(IllegalArgumentException.class, () -> chat().call(new Prompt(picture)));
  }

  @Test
  void callsOfToolsAreHandedOutAndTheirResultsTaken() {
    AtomicInteger calls = new AtomicInteger();
    ToolCallingChatOptions options =
        ToolCallingChatOptions.builder().toolCallbacks(weather(calls)).maxTokens(60).build();
    UserMessage question = new UserMessage("What is the weather in Paris?");
    ChatResponse response = chat().call(new Prompt(question, options));
    assertNotNull(response.getResult().getOutput().getText());
    assertEquals(0, calls.get());
    AssistantMessage called =
        AssistantMessage.builder()
            .content("")
            .toolCalls(
                List.of(
                    new AssistantMessage.ToolCall(
                        "1", "function", "weather", "{\"name\":\"Paris\"}")))
            .build();
    ToolResponseMessage result =
        ToolResponseMessage.builder()
            .responses(List.of(new ToolResponseMessage.ToolResponse("1", "weather", "Sunny.")))
            .build();
    ChatResponse next = chat().call(new Prompt(List.of(question, called, result), options));
    assertFalse(next.getResults().isEmpty());
  }

  @Test
  void schemasHold() {
    enum City {
      PARIS,
      ROME
    }
    record Answer(City city, boolean large) {}
    Answer answer =
        ChatClient.create(chat())
            .prompt("What is the capital of France?")
            .advisors(AdvisorParams.ENABLE_NATIVE_STRUCTURED_OUTPUT)
            .options(CandleChatOptions.builder().maxTokens(200))
            .call()
            .entity(Answer.class);
    assertNotNull(answer);
    assertNotNull(answer.city());
  }

  @Test
  void optionsAreCopiedWhole() {
    CandleChatOptions options =
        CandleChatOptions.builder()
            .model("m")
            .temperature(0.5)
            .topK(3)
            .topP(0.9)
            .minP(0.1)
            .maxTokens(7)
            .seed(5L)
            .repeatPenalty(1.1)
            .frequencyPenalty(0.1)
            .presencePenalty(0.2)
            .stopSequences(List.of("x"))
            .thinking(true)
            .outputSchema("{}")
            .build();
    assertEquals(options, options.mutate().build());
    assertEquals(options, options.mutate().clone().build());
    CandleChatOptions combined = CandleChatOptions.builder().combineWith(options.mutate()).build();
    assertEquals(options, combined);
    assertEquals(options.hashCode(), combined.hashCode());
  }
}
