package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.json.JsonMapper;

/** Tools that models call. */
class ToolTest {
  /** Fewer in every build than where the figure is measured. */
  private static final int CALLS = Integer.getInteger("candle4j.test.toolCalls", 200);

  enum Unit {
    CELSIUS,
    KELVIN
  }

  record Weather(Unit unit, Optional<Integer> days) {}

  record Sum(List<Integer> numbers) {}

  private static final Tool SUM =
      Tool.of(
          "sum",
          "Adds numbers.",
          Sum.class,
          sum -> sum.numbers().stream().mapToInt(Integer::intValue).sum());

  private static final Tool OPEN =
      Tool.of(
          "look",
          "Looks around.",
          """
          {"type": "object", "required": ["where"], "additionalProperties": false,
           "properties": {"where": {"enum": ["left", "right"]}}}\
          """);

  @TempDir Path folder;

  /** A model whose calls begin with a token of their own, by which it is made to call or not. */
  private CandleModel model() throws IOException {
    try (Stream<Path> files = Files.list(Golden.folder("llama-plain"))) {
      for (Path file : files.toList()) {
        Files.copy(file, folder.resolve(file.getFileName()));
      }
    }
    Files.delete(folder.resolve("tokenizer_config.json"));
    Path tokenizer = folder.resolve("tokenizer.json");
    Files.writeString(tokenizer, Files.readString(tokenizer).replace("<|stop|>", "[TOOL_CALLS]"));
    Path config = folder.resolve("config.json");
    Files.writeString(
        config,
        Files.readString(config)
            .replace("\"max_position_embeddings\": 512", "\"max_position_embeddings\": 8192"));
    Files.writeString(
        folder.resolve("chat_template.jinja"),
        "{# [TOOL_CALLS] #}{{ tools | tojson if tools }}{% for m in messages %}"
            + "{{ m.role }}: {{ m.content }}\n{% endfor %}");
    return CandleModel.builder().path(folder).load();
  }

  private static GenerateOptions calling(CandleModel model, double bias) {
    int opening = model.tokenizer().encode("[TOOL_CALLS]").get(0);
    return GenerateOptions.builder()
        .maxTokens(600)
        .temperature(1)
        .seed(1)
        .logitBias(Map.of(opening, bias))
        .build();
  }

  @Test
  void requiredCallsAreValid() {
    var weather = Tool.of("weather", "The weather.", Weather.class, w -> w.unit());
    var validator =
        SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12)
            .getSchema(JsonMapper.shared().readTree(weather.parameters()));
    int valid = 0;
    try (CandleModel model = CandleModel.load(CandleModel.BUILT_IN);
        CandleSession session = model.newSession()) {
      for (int seed = 0; seed < CALLS; seed++) {
        ToolChoice choice = seed % 2 == 0 ? ToolChoice.REQUIRED : ToolChoice.of("weather");
        Request request =
            Request.builder()
                .text("How is the weather?")
                .tools(weather, OPEN)
                .toolChoice(choice)
                .options(GenerateOptions.builder().temperature(1).seed(seed).build())
                .build();
        List<ToolCall> streamed = new ArrayList<>();
        Generation generation =
            session.generate(request, token -> streamed.addAll(token.toolCalls()));
        assertEquals(FinishReason.TOOL_CALLS, generation.finishReason(), generation.toString());
        assertEquals(generation.toolCalls(), streamed);
        assertEquals("", generation.text());
        for (ToolCall call : generation.toolCalls()) {
          if (call.name().equals("weather")) {
            var arguments = JsonMapper.shared().readTree(call.arguments());
            assertEquals(List.of(), validator.validate(arguments));
          } else {
            assertEquals("look", call.name());
          }
        }
        valid++;
      }
    }
    System.out.println("valid offered calls: " + valid + " of " + CALLS);
    assertEquals(CALLS, valid);
  }

  @Test
  void aChatRunsToolsAndGoesOn() throws IOException {
    List<List<Integer>> asked = new ArrayList<>();
    Tool sum =
        Tool.of(
            "sum",
            "Adds numbers.",
            Sum.class,
            s -> {
              asked.add(s.numbers());
              return Map.of("sum", s.numbers().stream().mapToInt(Integer::intValue).sum());
            });
    try (CandleModel model = model();
        CandleSession session = model.newSession()) {
      CandleChat chat =
          CandleChat.builder(session)
              .tools(sum)
              .toolChoice(ToolChoice.REQUIRED)
              .options(calling(model, -50))
              .build();
      Generation answer = chat.say("Add something.");
      assertEquals(List.of(), answer.toolCalls());
      assertFalse(asked.isEmpty());
      List<ChatMessage> history = chat.history();
      assertEquals("user", history.get(0).role());
      ChatMessage.Assistant called = (ChatMessage.Assistant) history.get(1);
      assertEquals(asked.size(), called.toolCalls().size());
      ChatMessage.ToolResult result = (ChatMessage.ToolResult) history.get(2);
      assertEquals(called.toolCalls().get(0).id(), result.callId());
      int expected = asked.get(0).stream().mapToInt(Integer::intValue).sum();
      assertEquals("{\"sum\":" + expected + "}", result.text());
      assertEquals(answer.toMessage(), history.getLast());
      assertTrue(answer.cachedTokens() > 0);
    }
  }

  @Test
  void callsWithoutCodeAreHandedOut() throws IOException {
    try (CandleModel model = model();
        CandleSession session = model.newSession()) {
      CandleChat chat =
          CandleChat.builder(session)
              .tools(SUM, OPEN)
              .toolChoice(ToolChoice.of("look"))
              .options(calling(model, -50))
              .build();
      Generation asks = chat.say("What is there?");
      assertEquals(1, asks.toolCalls().size());
      assertEquals(FinishReason.TOOL_CALLS, asks.finishReason());
      assertThrows(IllegalStateException.class, () -> OPEN.run(asks.toolCalls().get(0)));
      CandleChat next =
          CandleChat.builder(session).history(chat.history()).options(calling(model, -50)).build();
      var unused = next.say(List.of(ChatMessage.tool(asks.toolCalls().get(0), "A door.")));
      assertEquals(
          List.of("user", "assistant", "tool", "assistant"),
          next.history().stream().map(ChatMessage::role).toList());
    }
  }

  @Test
  void roundsAreLimitedAndFailuresAreTold() throws IOException {
    List<String> told = new ArrayList<>();
    Tool failing =
        Tool.of(
            "fail",
            "",
            Sum.class,
            s -> {
              told.add("called");
              throw new IOException("the disk is full");
            });
    try (CandleModel model = model();
        CandleSession session = model.newSession()) {
      CandleChat chat =
          CandleChat.builder(session)
              .tools(failing)
              .maxToolRounds(2)
              .options(calling(model, 50))
              .build();
      ToolLimitException limit =
          assertThrows(ToolLimitException.class, () -> chat.say("Add something."));
      assertEquals("maxToolRounds: the model still calls tools after 2 rounds", limit.getMessage());
      assertTrue(told.size() >= 2, told.toString());
      assertEquals(List.of(), chat.history());
      ToolCall call = new ToolCall("x", "fail", "{\"numbers\": [1]}");
      assertEquals("Error: the disk is full", failing.run(call).text());
      ToolCall wrong = new ToolCall("x", "fail", "{\"numbers\": 1}");
      assertTrue(failing.run(wrong).text().startsWith("Error: numbers: "));
    }
  }

  @Test
  void cancellingStopsBetweenRounds() throws Exception {
    CountDownLatch running = new CountDownLatch(1);
    CountDownLatch cancelled = new CountDownLatch(1);
    Tool slow =
        Tool.of(
            "slow",
            "",
            Sum.class,
            s -> {
              running.countDown();
              assertTrue(cancelled.await(20, TimeUnit.SECONDS));
              return 1;
            });
    try (CandleModel model = model();
        CandleSession session = model.newSession()) {
      CandleChat chat = CandleChat.builder(session).tools(slow).options(calling(model, 50)).build();
      CompletableFuture<Generation> turn = chat.submit("Go.");
      assertTrue(running.await(20, TimeUnit.SECONDS));
      chat.cancel();
      cancelled.countDown();
      assertEquals(FinishReason.CANCELLED, turn.get(20, TimeUnit.SECONDS).finishReason());
      assertEquals(List.of(), chat.history());
      Tool interrupted =
          Tool.of(
              "x",
              "",
              Sum.class,
              s -> {
                throw new InterruptedException();
              });
      ToolCall call = new ToolCall("x", "x", "{\"numbers\": []}");
      assertThrows(CancellationException.class, () -> interrupted.run(call));
      assertTrue(Thread.interrupted());
    }
  }

  /** Its methods are tools. */
  static final class Calculator {
    @ToolMethod("Multiplies two numbers.")
    long times(@Description("The first.") int a, int b) {
      return (long) a * b;
    }

    @ToolMethod(value = "Says hello.", name = "hello")
    public String greet(Optional<Unit> unit) {
      return "hello " + unit;
    }

    @ToolMethod("Fails.")
    void fails() {
      throw new IllegalStateException("so it is");
    }

    int other() {
      return 0;
    }
  }

  @Test
  void methodsAreTools() {
    List<Tool> tools = Tool.methodsOf(new Calculator());
    assertEquals(List.of("fails", "hello", "times"), tools.stream().map(Tool::name).toList());
    Tool times = tools.get(2);
    assertEquals("Multiplies two numbers.", times.description());
    var schema = JsonMapper.shared().readTree(times.parameters());
    assertEquals(
        "The first.", schema.at("/properties/a/description").stringValue(), schema.toString());
    assertEquals(2, schema.get("required").size());
    assertEquals("42", times.run(new ToolCall("", "times", "{\"a\": 6, \"b\": 7}")).text());
    assertEquals(
        "hello Optional[KELVIN]",
        tools.get(1).run(new ToolCall("", "hello", "{\"unit\": \"KELVIN\"}")).text());
    assertEquals("hello Optional.empty", tools.get(1).run(new ToolCall("", "hello", "{}")).text());
    assertEquals("Error: so it is", tools.get(0).run(new ToolCall("", "fails", "{}")).text());
    assertThrows(IllegalArgumentException.class, () -> Tool.methodsOf("nothing"));
  }

  @Test
  void toolsInOpenAisForm() {
    List<Tool> tools =
        Tool.parse(
            """
            [{"type": "function", "function": {"name": "a", "description": "Does.",
              "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}},
             {"type": "function", "function": {"name": "b"}}]\
            """);
    assertEquals(List.of("a", "b"), tools.stream().map(Tool::name).toList());
    assertFalse(tools.get(0).isRunnable());
    for (String[] wrong :
        new String[][] {
          {"{}", "tools: expected an array"},
          {"[{\"type\": \"web\"}]", "tools[0].type"},
          {"[{\"function\": {}}]", "tools[0].function.name"},
          {"[{\"function\": {\"name\": \"a\", \"parameters\": 1}}]", "parameters"},
          {"[", "tools: not JSON"},
        }) {
      String message =
          assertThrows(IllegalArgumentException.class, () -> Tool.parse(wrong[0])).getMessage();
      assertTrue(String.valueOf(message).contains(wrong[1]), message);
    }
    assertThrows(IllegalArgumentException.class, () -> Tool.of("a", "", "[]"));
    assertThrows(
        IllegalArgumentException.class, () -> Tool.of("a", "", String.class, text -> text));
    assertThrows(IllegalArgumentException.class, () -> Tool.of("a", "", List.class, l -> l));
  }

  @Test
  void whatIsWrongIsNamed() throws IOException {
    try (CandleModel model = model();
        CandleSession session = model.newSession()) {
      for (Request wrong :
          List.of(
              Request.builder().text("x").tools(OPEN, OPEN).build(),
              Request.builder().text("x").tools(Tool.of("a b", "", "{}")).build(),
              Request.builder().text("x").tools(OPEN).toolChoice(ToolChoice.of("y")).build(),
              Request.builder().text("x").toolChoice(ToolChoice.REQUIRED).build(),
              Request.builder().rawText("x").tools(OPEN).build())) {
        String message =
            assertThrows(IllegalArgumentException.class, () -> session.generate(wrong))
                .getMessage();
        assertTrue(String.valueOf(message).startsWith("tool"), message);
      }
    }
  }
}
