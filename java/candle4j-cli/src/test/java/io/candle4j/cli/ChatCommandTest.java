package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.ChatMessage;
import io.candle4j.GenerateOptions;
import io.candle4j.Request;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class ChatCommandTest {
  private static Cli.Result chat(String input, String... more) {
    List<String> args =
        new ArrayList<>(
            List.of(
                "chat",
                "--model",
                Golden.LLAMA,
                "--temperature",
                "0",
                "--max-tokens",
                "8",
                "--ignore-eos"));
    args.addAll(List.of(more));
    return new Cli().input(input).with(args.toArray(String[]::new));
  }

  /** What the library answers to these messages, each in the conversation so far. */
  private static List<ChatMessage> talk(String system, String... messages) {
    GenerateOptions options =
        GenerateOptions.greedy().toBuilder().maxTokens(8).ignoreEos(true).build();
    try (CandleModel model = CandleModel.load(Golden.LLAMA);
        CandleSession session = model.newSession()) {
      List<ChatMessage> all = new ArrayList<>();
      if (system != null) {
        all.add(ChatMessage.system(system));
      }
      for (String message : messages) {
        all.add(ChatMessage.user(message));
        Request request = Request.builder().messages(all).options(options).build();
        all.add(session.generate(request).toMessage());
      }
      return all;
    }
  }

  private static String answers(List<ChatMessage> conversation) {
    StringBuilder answers = new StringBuilder();
    for (ChatMessage message : conversation) {
      if (message instanceof ChatMessage.Assistant) {
        answers.append(message.text()).append('\n');
      }
    }
    return answers.toString();
  }

  @Test
  void answersAreAllThatIsPrinted() {
    String expected = answers(talk(null, "Hello", "And you?"));
    assertEquals(new Cli.Result(ExitCode.OK, expected, ""), chat("Hello\n\nAnd you?"));
    assertEquals(expected, chat("Hello\nAnd you?\n/bye\nnever read\n").out());
  }

  @Test
  void instructionsCanBeGivenAndChanged() {
    assertEquals(
        answers(talk("Be a fox.", "Hello")), chat("Hello\n", "--system", "Be a fox.").out());
    assertEquals(answers(talk("Be a fox.", "Hello")), chat("/system Be a fox.\nHello\n").out());
    assertEquals(
        answers(talk(null, "Hello")), chat("/system -\nHello\n", "--system", "Be a fox.").out());
    assertEquals(
        "Be a fox.\n(no instructions)\n",
        chat("/system\n/system -\n/system\n", "--system", "Be a fox.").out());
  }

  @Test
  void instructionsMayComeFromAFile(@TempDir Path folder) throws IOException {
    Path file = Files.writeString(folder.resolve("system.txt"), "Be a fox.\n");
    assertEquals("Be a fox.\n", chat("/system\n", "--system", "@" + file).out());
    assertEquals("@fox\n", chat("/system\n", "--system", "@@fox").out());
    Cli.Result missing = chat("/system\n", "--system", "@" + folder.resolve("none"));
    assertEquals(ExitCode.USAGE, missing.code());
    assertTrue(missing.err().contains("none: no such file"), missing.err());
  }

  @Test
  void whatWasSaidCanBeForgotten() {
    String once = answers(talk("Be a fox.", "Hello"));
    String twice = answers(talk("Be a fox.", "Hello", "Hello"));
    assertFalse(twice.equals(once + once), "the model does not look at what was said");
    assertEquals(twice, chat("Hello\nHello\n", "--system", "Be a fox.").out());
    assertEquals(once + once, chat("Hello\n/reset\nHello\n", "--system", "Be a fox.").out());
  }

  @Test
  void theLastMessageCanBeAnsweredAgain() {
    String one = answers(talk(null, "Hello"));
    String two = answers(talk(null, "Hello", "And you?"));
    String last = two.substring(one.length());
    assertEquals(two + last, chat("Hello\nAnd you?\n/retry\n").out());
    Cli.Result nothing = chat("/retry\n");
    assertEquals(ExitCode.USAGE, nothing.code());
    assertTrue(nothing.err().contains("no message"), nothing.err());
  }

  @Test
  void theLastMessageCanBeTakenBack() {
    String one = answers(talk(null, "Hello"));
    String other = answers(talk(null, "Hello", "And you?")).substring(one.length());
    assertEquals(one + other + other, chat("Hello\nAnd you?\n/undo\nAnd you?\n").out());
    assertTrue(chat("/undo\n").err().contains("no message to take back"));
  }

  @Test
  void optionsAndTheModelCanBeChanged() {
    String expected = answers(talk(null, "Hello"));
    // Eight tokens become three, and eight again.
    String shorter = chat("/set max-tokens 3\nHello\n").out().strip();
    assertTrue(expected.startsWith(shorter) && shorter.length() < expected.strip().length());
    assertEquals(expected, chat("/set max-tokens 3\n/set max_tokens 8\nHello\n").out());
    assertEquals(ExitCode.OK, chat("/set --temperature 0.7\n/set stop x\n/show\n").code());
    String shown = chat("/set top-k 7\n/think off\n/show\n").out();
    assertTrue(shown.contains("topK=7") && shown.contains("thinking="), shown);
    assertTrue(shown.contains("messages  0"), shown);
    for (String[] wrong :
        new String[][] {
          {"/set", "a name and a value"},
          {"/set colour 1", "there is no option colour"},
          {"/set temperature warm", "'warm'"},
          {"/set temperature -1", "--temperature"},
          {"/think maybe", "on, off or a number"},
          {"/model /nowhere/at/all", "/nowhere/at/all"},
        }) {
      Cli.Result result = chat(wrong[0] + "\n");
      assertTrue(result.code() != ExitCode.OK, wrong[0]);
      assertTrue(result.err().contains(wrong[1]), result.err());
    }
    String other = Golden.folder("qwen2-plain").toString();
    assertTrue(chat("/model\n").out().contains("llama-plain"));
    String moved = chat("/model " + other + "\n/model\n").out();
    assertTrue(moved.strip().endsWith("qwen2-plain"), moved);
  }

  @Test
  void toolsAreOfferedAndTheirResultsTyped(@TempDir Path folder) throws IOException {
    Path tools = folder.resolve("tools.json");
    Files.writeString(
        tools,
        """
        [{"type": "function", "function": {"name": "now", "description": "Tells the time."}}]\
        """);
    assertEquals(
        "(no tools)\nnow  Tells the time.\n(no tools)\n",
        chat("/tools\n/tools " + tools + "\n/tools\n/tools -\n/tools\n").out());
    Files.writeString(tools, "{}");
    Cli.Result wrong = chat("/tools " + tools + "\n");
    assertEquals(ExitCode.USAGE, wrong.code());
    assertTrue(wrong.err().contains(tools + ": tools: expected an array"), wrong.err());
  }

  @Test
  void codeInAnswersIsTold() {
    String answer = "Like so:\n```java\nint `x` = 1;\n```\nand ``` so\n  ```\ny";
    String expected =
        "ANSWER[Like so:\n]FAINT[```java\n]CODE[int `x` = 1;\n]FAINT[```\n]"
            + "ANSWER[and ``` so\n]FAINT[  ```\n]CODE[y]";
    for (int size = 1; size <= answer.length(); size++) {
      List<String> texts = new ArrayList<>();
      List<Style> styles = new ArrayList<>();
      CodeBlocks blocks =
          new CodeBlocks((style, text) -> {
            if (!styles.isEmpty() && styles.getLast() == style) {
              texts.add(texts.removeLast() + text);
            } else {
              styles.add(style);
              texts.add(text);
            }
          });
      for (int i = 0; i < answer.length(); i += size) {
        blocks.print(answer.substring(i, Math.min(answer.length(), i + size)));
      }
      blocks.finish();
      StringBuilder told = new StringBuilder();
      for (int i = 0; i < texts.size(); i++) {
        told.append(styles.get(i)).append('[').append(texts.get(i)).append(']');
      }
      assertEquals(expected, told.toString(), "pieces of " + size);
    }
  }

  @Test
  void messagesMayHaveSeveralLines() {
    String expected = answers(talk(null, "one\ntwo\n three"));
    assertEquals(expected, chat("\"\"\"\none\ntwo\n three\n\"\"\"\n").out());
    assertEquals(expected, chat("\"\"\"one\ntwo\n three\"\"\"\n").out());
    assertEquals(expected, chat("one\\\ntwo\\\n three\n").out());
    assertEquals(answers(talk("a\nb", "Hello")), chat("/system \"\"\"a\nb\"\"\"\nHello\n").out());
    Cli.Result cut = chat("\"\"\"\none\n");
    assertEquals(ExitCode.USAGE, cut.code());
    assertTrue(cut.err().contains("several lines"), cut.err());
  }

  @Test
  void conversationsCanBeKept(@TempDir Path folder) throws IOException {
    Path file = folder.resolve("talk.json");
    chat("Hello\n/save " + file + "\n", "--system", "Be a fox.");
    List<ChatMessage> said = talk("Be a fox.", "Hello");
    JsonNode saved = JsonMapper.shared().readTree(Files.readString(file));
    assertEquals(3, saved.size());
    for (int i = 0; i < 3; i++) {
      assertEquals(said.get(i).role(), saved.get(i).get("role").stringValue());
      assertEquals(said.get(i).text(), saved.get(i).get("content").stringValue());
    }
    String both = answers(talk("Be a fox.", "Hello", "And you?"));
    assertEquals(
        both.substring(answers(said).length()), chat("/load " + file + "\nAnd you?\n").out());

    Cli.Result again = chat("/save " + file + "\n");
    assertEquals(ExitCode.USAGE, again.code());
    assertTrue(again.err().contains("/save!"), again.err());
    assertEquals(ExitCode.OK, chat("/save! " + file + "\n").code());
    assertEquals("[]", Files.readString(file).replaceAll("\\s", ""));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"", "{}", "[1]", "[{\"role\": \"user\"}]", "[{\"role\": 1, \"content\": \"\"}]"})
  void otherFilesAreNoConversations(String content, @TempDir Path folder) throws IOException {
    Path file = Files.writeString(folder.resolve("file"), content);
    Cli.Result result = chat("/load " + file + "\n");
    assertEquals(ExitCode.USAGE, result.code());
    assertTrue(result.err().contains("is not a JSON array of messages"), result.err());
    assertEquals(1, result.err().lines().count(), result.err());
  }

  @Test
  void aScriptEndsAtItsFirstFailure() {
    for (String bad :
        List.of(
            "/nonsense", "/save", "/load /nowhere/at/all", "/save /nowhere/at/all", "/reset!")) {
      Cli.Result result = chat(bad + "\nHello\n");
      assertEquals(ExitCode.USAGE, result.code(), bad);
      assertEquals("", result.out(), bad);
      assertEquals(1, result.err().lines().count(), result.err());
    }
    Cli.Result full = chat("word ".repeat(600) + "\n");
    assertEquals(ExitCode.USAGE, full.code());
    assertTrue(full.err().contains("512"), full.err());
    assertTrue(full.err().contains("/reset"), full.err());
  }

  @Test
  void aByteOrderMarkIsNoneOfTheMessage() {
    String plain = chat("/system\n").out();
    assertEquals(plain, chat("\uFEFF/system\n").out());
  }

  @Test
  void helpListsTheCommands() {
    String help = chat("/help\n").out();
    for (String name : SlashCommand.names()) {
      assertTrue(help.contains("  " + name), name);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "/help,         /help,   false, ''",
    "'/save  a b ', /save,   false, a b",
    "/save! x,      /save!,  true,  x",
    "/nothing,      /nothing,false, ''"
  })
  void linesThatAreCommands(String line, String word, boolean forced, String argument) {
    SlashCommand.Call call = SlashCommand.parse(line).orElseThrow();
    assertEquals(word, call.word());
    assertEquals(forced, call.forced());
    assertEquals(argument, call.argument());
    assertEquals(!word.equals("/nothing"), call.command().isPresent());
  }

  @ParameterizedTest
  @ValueSource(strings = {"/etc/hosts is what?", "hello", "a /help", "/2 is a half"})
  void linesThatAreMessages(String line) {
    assertEquals(Optional.empty(), SlashCommand.parse(line));
  }
}
