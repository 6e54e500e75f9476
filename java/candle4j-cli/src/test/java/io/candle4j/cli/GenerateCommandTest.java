package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.candle4j.CandleModel;
import io.candle4j.ChatMessage;
import io.candle4j.TokenIds;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class GenerateCommandTest {
  private static final String QUESTION = "Who keeps the lantern?";

  /** Greedy, 16 tokens, past any end-of-sequence token. */
  private static String[] greedy(String model, String... more) {
    return Stream.concat(
            Stream.of(
                "generate",
                "--model",
                model,
                "--temperature",
                "0",
                "--max-tokens",
                "16",
                "--ignore-eos"),
            Arrays.stream(more))
        .toArray(String[]::new);
  }

  private static List<String> keys(JsonNode object) {
    return new ArrayList<>(object.propertyNames());
  }

  @Test
  void aSchemaIsFollowed(@TempDir Path folder) throws IOException {
    Path schema = folder.resolve("schema.json");
    Files.writeString(
        schema,
        """
        {"type": "object", "required": ["kind", "count"], "additionalProperties": false,
         "properties": {"kind": {"enum": ["lantern", "boat"]},
                        "count": {"type": "integer", "minimum": 1, "maximum": 9}}}\
        """);
    String[] command = {
      "generate",
      QUESTION,
      "--model",
      Golden.folder("llama-plain").toString(),
      "--schema",
      schema.toString(),
      "--seed",
      "1",
      "--max-tokens",
      "60"
    };
    JsonNode answer = Cli.run(with(command, "--json")).json();
    JsonNode document = JsonMapper.shared().readTree(answer.get("text").stringValue());
    assertEquals(List.of("kind", "count"), keys(document));
    assertEquals("stop", answer.get("finish_reason").stringValue());
    assertEquals(answer.get("text").stringValue(), Cli.run(command).out().strip());

    for (String[] wrong :
        new String[][] {
          {"{\"type\": \"array\", \"uniqueItems\": true}", "uniqueItems"},
          {"{\"type\":", "--schema: " + schema + ": not JSON"},
          {"\u00ff", "not"},
        }) {
      Files.writeString(schema, wrong[0], StandardCharsets.ISO_8859_1);
      Cli.Result refused = Cli.run(command);
      assertEquals(ExitCode.USAGE, refused.code(), refused.err());
      assertTrue(refused.err().contains(wrong[1]), refused.err());
    }
    Files.delete(schema);
    assertTrue(Cli.run(command).err().contains("--schema: " + schema + ": no such file"));
  }

  @Test
  void anAnswerInLines() {
    String[] command = greedy(Golden.folder("llama-plain").toString(), QUESTION);
    JsonNode whole = Cli.run(with(command, "--json")).json();
    StringBuilder text = new StringBuilder();
    List<String> types = new ArrayList<>();
    JsonNode last = null;
    for (String line : Cli.run(with(command, "--ndjson")).out().lines().toList()) {
      last = JsonMapper.shared().readTree(line);
      types.add(last.get("type").stringValue());
      if (types.getLast().equals("text")) {
        text.append(last.get("text").stringValue());
      }
    }
    assertEquals("end", types.removeLast());
    assertEquals(Set.of("text"), Set.copyOf(types));
    assertEquals(whole.get("text").stringValue(), text.toString());
    assertEquals(whole.get("token_ids"), last.get("token_ids"));
    assertEquals(ExitCode.USAGE, Cli.run("generate", "x", "--json", "--ndjson").code());
  }

  @Test
  void toolsAreCalled(@TempDir Path folder) throws IOException {
    Path messages = folder.resolve("messages.json");
    Path tools = folder.resolve("tools.json");
    Files.writeString(
        messages,
        """
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "The weather?"}]\
        """);
    Files.writeString(
        tools,
        """
        [{"type": "function", "function": {"name": "weather", "description": "Tells the weather.",
          "parameters": {"type": "object", "required": ["unit"],
            "properties": {"unit": {"enum": ["C", "K"]}}}}},
         {"type": "function", "function": {"name": "now"}}]\
        """);
    String[] command = {
      "generate",
      "--model",
      "smollm2",
      "--messages",
      messages.toString(),
      "--tools",
      tools.toString(),
      "--tool-choice",
      "weather",
      "--seed",
      "1"
    };
    JsonNode answer = Cli.run(with(command, "--json")).json();
    assertEquals("tool_calls", answer.get("finish_reason").stringValue());
    assertEquals("", answer.get("text").stringValue());
    assertTrue(answer.get("reasoning").isNull());
    JsonNode call = answer.get("tool_calls").get(0);
    assertEquals(List.of("id", "name", "arguments"), keys(call));
    assertEquals("weather", call.get("name").stringValue());
    JsonNode arguments = JsonMapper.shared().readTree(call.get("arguments").stringValue());
    assertEquals(List.of("unit"), keys(arguments));
    // And as text, a line of JSON.
    JsonNode printed = JsonMapper.shared().readTree(Cli.run(command).out());
    assertEquals(call.get("arguments"), printed.get("arguments"));

    Files.writeString(tools, "[{\"type\": \"web\"}]");
    Cli.Result refused =
        Cli.run("generate", "x", "--model", "smollm2", "--tools", tools.toString(), "--json");
    assertEquals(ExitCode.USAGE, refused.code());
    assertTrue(refused.err().contains("--tools: " + tools + ": tools[0].type"), refused.err());
    for (String[] wrong :
        new String[][] {
          {"generate", "x", "--messages", messages.toString()},
          {"generate", "--raw", "--messages", messages.toString()},
          {"generate", "x", "--tool-choice", "auto"},
          {"generate", "--messages", tools.toString()},
        }) {
      assertEquals(ExitCode.USAGE, Cli.run(wrong).code());
    }
  }

  private static String[] with(String[] command, String more) {
    return Stream.concat(Arrays.stream(command), Stream.of(more)).toArray(String[]::new);
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama-plain", "mistral-plain", "qwen2-plain", "qwen3-moe-plain"})
  void tokensInOneObjectOut(String name) {
    JsonNode sequence = Golden.sequence(name);
    String tokens = Golden.joined(sequence.get("prompt"));
    Cli.Result result =
        Cli.run(greedy(Golden.folder(name).toString(), "--tokens", tokens, "--json"));
    JsonNode answer = result.json();
    assertEquals("", result.err());
    assertEquals(Golden.ids(sequence.get("greedy")), Golden.ids(answer.get("token_ids")));
    assertEquals(5, answer.get("prompt_tokens").intValue());
    assertEquals("length", answer.get("finish_reason").stringValue());
    assertEquals(
        List.of(
            "text",
            "reasoning",
            "tool_calls",
            "token_ids",
            "prompt_tokens",
            "cached_tokens",
            "finish_reason",
            "seed",
            "timings",
            "model"),
        keys(answer));
    assertEquals(
        List.of(
            "load_ms",
            "prefill_ms",
            "decode_ms",
            "prefill_tokens_per_second",
            "decode_tokens_per_second"),
        keys(answer.get("timings")));
    answer.get("timings").forEach(time -> assertTrue(time.doubleValue() > 0, answer.toString()));
    assertEquals(
        List.of("architecture", "device", "precision", "engine"), keys(answer.get("model")));
    assertEquals(
        name.startsWith("qwen3-moe") ? "qwen3_moe" : name.replaceFirst("-.*", ""),
        answer.get("model").get("architecture").stringValue());
    assertEquals("cpu", answer.get("model").get("device").stringValue());
    assertEquals("f32", answer.get("model").get("precision").stringValue());
  }

  @Test
  void textIsThatOfTheObjectAndANewline() {
    String tokens = Golden.joined(Golden.sequence("llama-plain").get("prompt"));
    String text =
        Cli.run(greedy(Golden.LLAMA, "--tokens", tokens, "--json"))
            .json()
            .get("text")
            .stringValue();
    Cli.Result plain = Cli.run(greedy(Golden.LLAMA, "--tokens", tokens));
    assertTrue(text.length() > 10, text);
    assertEquals(new Cli.Result(ExitCode.OK, text + "\n", ""), plain);
  }

  @Test
  void aPromptIsOneMessageOfTheUser() {
    JsonNode chat = Golden.expected("llama-plain").get("chat").get(0);
    assertEquals(QUESTION, chat.get("messages").get(0).get("content").stringValue());
    JsonNode byTokens =
        Cli.run(greedy(Golden.LLAMA, "--tokens", Golden.joined(chat.get("ids")), "--json")).json();
    JsonNode byPrompt = Cli.run(greedy(Golden.LLAMA, "--json", QUESTION)).json();
    assertEquals(chat.get("ids").size(), byPrompt.get("prompt_tokens").intValue());
    assertEquals(byTokens.get("token_ids"), byPrompt.get("token_ids"));
  }

  @Test
  void aRawPromptIsTakenAsItStands() {
    JsonNode text = Golden.expected("llama-plain").get("text").get(0);
    JsonNode byTokens =
        Cli.run(
                greedy(
                    Golden.LLAMA,
                    "--tokens",
                    Golden.joined(text.get("ids_with_special")),
                    "--json"))
            .json();
    JsonNode raw =
        Cli.run(greedy(Golden.LLAMA, "--json", "--raw", text.get("text").stringValue())).json();
    assertEquals(text.get("ids_with_special").size(), raw.get("prompt_tokens").intValue());
    assertEquals(byTokens.get("token_ids"), raw.get("token_ids"));
  }

  @Test
  void instructionsComeBeforeThePrompt() {
    TokenIds ids;
    try (CandleModel model = CandleModel.load(Golden.LLAMA)) {
      List<ChatMessage> messages =
          List.of(ChatMessage.system("Be a fox."), ChatMessage.user(QUESTION));
      ids = model.tokenizer().encode(model.applyChatTemplate(messages, true));
    }
    String tokens = String.join(",", ids.stream().map(String::valueOf).toList());
    JsonNode byTokens = Cli.run(greedy(Golden.LLAMA, "--tokens", tokens, "--json")).json();
    JsonNode bySystem =
        Cli.run(greedy(Golden.LLAMA, "--json", "--system", "Be a fox.", QUESTION)).json();
    assertEquals(ids.size(), bySystem.get("prompt_tokens").intValue());
    assertEquals(byTokens.get("token_ids"), bySystem.get("token_ids"));
  }

  @Test
  void aPromptCanBePipedIn() {
    Cli.Result expected = Cli.run(greedy(Golden.LLAMA, "--prompt", QUESTION));
    assertEquals(ExitCode.OK, expected.code());
    assertEquals(expected, new Cli().input(QUESTION).with(greedy(Golden.LLAMA)));
    assertEquals(expected, new Cli().input(QUESTION + "\n").with(greedy(Golden.LLAMA, "-")));
    assertEquals(expected, new Cli().input(QUESTION + "\r\n").with(greedy(Golden.LLAMA)));
    // Only the last line break is the shell's.
    JsonNode two = new Cli().input("a\n\n").with(greedy(Golden.LLAMA, "--raw", "--json")).json();
    JsonNode given = Cli.run(greedy(Golden.LLAMA, "--raw", "--json", "a\n")).json();
    assertEquals(given.get("prompt_tokens"), two.get("prompt_tokens"));
  }

  @Test
  void h9WhatIsPipedInIsAppendedToAPrompt() {
    String joined = "Summarise\n\nSome text.";
    Cli.Result expected = Cli.run(greedy(Golden.LLAMA, joined));
    assertEquals(expected, new Cli().input("Some text.\n").with(greedy(Golden.LLAMA, "Summarise")));
    assertEquals(
        expected,
        new Cli().input("Some text.").with(greedy(Golden.LLAMA, "--prompt", "Summarise")));
    // Ids have no text, and nothing but line breaks is none.
    Cli.Result alone = Cli.run(greedy(Golden.LLAMA, "Summarise"));
    assertEquals(alone, new Cli().input("\n\n").with(greedy(Golden.LLAMA, "Summarise")));
    assertEquals(
        alone,
        new Cli().input("x").terminals(Descriptors.IN).with(greedy(Golden.LLAMA, "Summarise")));
    assertEquals(
        ExitCode.USAGE,
        new Cli().input(new byte[] {(byte) 0xff}).with(greedy(Golden.LLAMA, "x")).code());
  }

  @Test
  void nothingIsReadFromATerminal() {
    Cli.Result result = new Cli().input("text").terminals(Descriptors.IN).with("generate");
    assertEquals(ExitCode.USAGE, result.code());
    assertTrue(result.err().contains("a prompt is missing"), result.err());
  }

  @Test
  void aPromptMayLookLikeAFileOfArguments() {
    assertEquals(ExitCode.OK, Cli.run(greedy(Golden.LLAMA, "@home")).code());
  }

  @Test
  void stopTextsEndTheAnswerAndAreCutFromIt() {
    String tokens = Golden.joined(Golden.sequence("llama-plain").get("prompt"));
    String text =
        Cli.run(greedy(Golden.LLAMA, "--tokens", tokens, "--json"))
            .json()
            .get("text")
            .stringValue();
    int at = text.indexOf("Zie");
    assertTrue(at > 0, text);
    JsonNode stopped =
        Cli.run(
                greedy(
                    Golden.LLAMA,
                    "--tokens",
                    tokens,
                    "--json",
                    "--stop",
                    "nowhere",
                    "--stop",
                    "Zie"))
            .json();
    assertEquals(text.substring(0, at), stopped.get("text").stringValue());
    assertEquals("stop_string", stopped.get("finish_reason").stringValue());
    assertEquals(
        text.substring(0, at) + "\n",
        Cli.run(greedy(Golden.LLAMA, "--tokens", tokens, "--stop", "Zie")).out());
  }

  @Test
  void anEndOfSequenceTokenEndsTheAnswerUnlessIgnored(@TempDir Path folder) {
    JsonNode sequence = Golden.sequence("llama-plain");
    List<Integer> greedy = Golden.ids(sequence.get("greedy"));
    Path model =
        Golden.copy(
            "llama-plain",
            folder.resolve("model"),
            "\"eos_token_id\": 377",
            "\"eos_token_id\": " + greedy.get(2));
    String[] args = {
      "generate",
      "--model",
      model.toString(),
      "--temperature",
      "0",
      "--max-tokens",
      "16",
      "--tokens",
      Golden.joined(sequence.get("prompt")),
      "--json"
    };
    JsonNode stopped = Cli.run(args).json();
    assertEquals(greedy.subList(0, 3), Golden.ids(stopped.get("token_ids")));
    assertEquals("stop", stopped.get("finish_reason").stringValue());
    String[] ignoring = Arrays.copyOf(args, args.length + 1);
    ignoring[args.length] = "--ignore-eos";
    assertEquals(greedy, Golden.ids(Cli.run(ignoring).json().get("token_ids")));
  }

  @Test
  void aSeedRepeatsAnAnswer() {
    String[] random = {
      "generate",
      "--model",
      Golden.LLAMA,
      "--temperature",
      "1.5",
      "--max-tokens",
      "12",
      "--json",
      "x"
    };
    JsonNode first = Cli.run(random).json();
    JsonNode second = Cli.run(random).json();
    assertNotEquals(first.get("token_ids"), second.get("token_ids"));
    String[] seeded = Arrays.copyOf(random, random.length + 2);
    seeded[random.length] = "--seed";
    seeded[random.length + 1] = first.get("seed").toString();
    assertEquals(first.get("token_ids"), Cli.run(seeded).json().get("token_ids"));
    seeded[random.length + 1] = "18446744073709551615";
    assertEquals("18446744073709551615", Cli.run(seeded).json().get("seed").toString());
  }

  @Test
  void samplingOptionsReachTheModel() {
    String[] random = {
      "generate",
      "--model",
      Golden.LLAMA,
      "--temperature",
      "5",
      "--seed",
      "1",
      "--max-tokens",
      "12",
      "--ignore-eos",
      "--json",
      "--tokens",
      Golden.joined(Golden.sequence("llama-plain").get("prompt"))
    };
    JsonNode free = Cli.run(random).json().get("token_ids");
    List<Integer> greedy = Golden.ids(Golden.sequence("llama-plain").get("greedy")).subList(0, 12);
    assertNotEquals(greedy, Golden.ids(free));
    for (String[] option :
        List.of(
            new String[] {"--top-k", "1"},
            new String[] {"--top-p", "0.0001"},
            new String[] {"--min-p", "1"})) {
      String[] narrowed = Arrays.copyOf(random, random.length + 2);
      System.arraycopy(option, 0, narrowed, random.length, 2);
      assertEquals(greedy, Golden.ids(Cli.run(narrowed).json().get("token_ids")), option[0]);
    }
    String[] penalised =
        greedy(Golden.LLAMA, "--json", "--repeat-penalty", "100", "--tokens", "1,2,3");
    List<Integer> tokens = Golden.ids(Cli.run(penalised).json().get("token_ids"));
    assertEquals(tokens.size(), tokens.stream().distinct().count(), tokens.toString());
  }

  @Test
  void aContextCanBeShorterThanTheModels() {
    String tokens =
        Golden.joined(Golden.expected("llama-plain").get("sequences").get(2).get("prompt"));
    Cli.Result result = Cli.run(greedy(Golden.LLAMA, "--context", "64", "--tokens", tokens));
    assertEquals(ExitCode.USAGE, result.code());
    assertTrue(result.err().contains("64"), result.err());
    JsonNode cut =
        Cli.run(
                "generate",
                "--model",
                Golden.LLAMA,
                "--context",
                "64",
                "--ignore-eos",
                "--json",
                "--tokens",
                "1,2,3")
            .json();
    assertTrue(cut.get("token_ids").size() <= 64, cut.toString());
    assertEquals("context_full", cut.get("finish_reason").stringValue());
  }

  @Test
  void onlyThoseWhoAskHearOfMeasurements() {
    Cli.Result verbose = Cli.run(greedy(Golden.LLAMA, "--verbose", "x"));
    assertTrue(verbose.err().contains("16 tokens in"), verbose.err());
    assertEquals("", Cli.run(greedy(Golden.LLAMA, "x")).err());
    assertEquals("", Cli.run(greedy(Golden.LLAMA, "--verbose", "--quiet", "x")).err());
  }

  @Test
  void coloursAreForTerminals() {
    String[] args = greedy(Golden.LLAMA, "--tokens", "1,2,3");
    Map<String, String> xterm = Map.of("TERM", "xterm-256color");
    String plain = Cli.run(args).out();
    assertFalse(plain.contains("\033"), plain);
    String onTerminal = new Cli().terminals(Descriptors.OUT).environment(xterm).with(args).out();
    assertTrue(onTerminal.contains("\033[36m"), onTerminal);
    assertTrue(onTerminal.endsWith("\033[0m\n"), onTerminal);
    for (Map<String, String> environment :
        List.of(
            Map.of("TERM", "xterm", "NO_COLOR", "1"),
            Map.of("TERM", "dumb"),
            Map.<String, String>of())) {
      String out = new Cli().terminals(Descriptors.OUT).environment(environment).with(args).out();
      assertFalse(out.contains("\033"), environment + ": " + out);
    }
  }
}
