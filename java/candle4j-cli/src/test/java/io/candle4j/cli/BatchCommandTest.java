package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class BatchCommandTest {
  @TempDir private Path folder;

  private static String[] batch(String... more) {
    return Stream.concat(
            Stream.of(
                "batch",
                "--model",
                Golden.LLAMA,
                "--temperature",
                "0",
                "--max-tokens",
                "8",
                "--ignore-eos"),
            Arrays.stream(more))
        .toArray(String[]::new);
  }

  private static List<JsonNode> parsed(List<String> lines) {
    return lines.stream().map(JsonMapper.shared()::readTree).toList();
  }

  private static String answer(String prompt) {
    return Cli.run(
            "generate",
            "--model",
            Golden.LLAMA,
            "--temperature",
            "0",
            "--max-tokens",
            "8",
            "--ignore-eos",
            "--json",
            "--prompt",
            prompt)
        .json()
        .get("text")
        .stringValue();
  }

  @Test
  void answersInTheOrderOfThePrompts() throws IOException {
    Path input = folder.resolve("in.jsonl");
    Path output = folder.resolve("out.jsonl");
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < 20; i++) {
      lines.add(Json.line(Json.object("id", "p" + i, "prompt", "word ".repeat(20 - i))));
    }
    Files.write(input, lines);
    Cli.Result result =
        Cli.run(
            batch("--input", input.toString(), "--output", output.toString(), "--parallel", "3"));
    assertEquals(new Cli.Result(ExitCode.OK, "", ""), result);
    List<JsonNode> answers = parsed(Files.readAllLines(output));
    assertEquals(20, answers.size());
    for (int i = 0; i < 20; i++) {
      JsonNode answer = answers.get(i);
      assertEquals(List.of("id", "text", "finish_reason"), new ArrayList<>(answer.propertyNames()));
      assertEquals("p" + i, answer.get("id").stringValue());
      assertEquals("length", answer.get("finish_reason").stringValue());
    }
    assertEquals(answer("word ".repeat(20)), answers.get(0).get("text").stringValue());
    assertEquals(answer("word "), answers.get(19).get("text").stringValue());
  }

  @Test
  void badLinesBecomeErrorsAndStopNothing() throws IOException {
    ByteArrayOutputStream input = new ByteArrayOutputStream();
    for (String line :
        List.of(
            "\uFEFF{\"id\": 1, \"prompt\": \"a\"}\r",
            "not JSON",
            "",
            "[1]",
            "{\"id\": 1.10}",
            "{\"id\": \"no string\", \"prompt\": 5}",
            "{\"id\": true, \"prompt\": \"a\"}",
            "{\"prompt\": \"a\"}",
            "{\"id\": \"empty\", \"prompt\": \"\"}",
            "{\"id\": \"long\", \"prompt\": \"" + "abc ".repeat(1000) + "\"}",
            "{\"id\": \"lone\", \"prompt\": \"\\ud800\"}",
            "{\"id\": 12345678901234567890, \"prompt\": \"a\"} {}")) {
      input.writeBytes((line + "\n").getBytes(StandardCharsets.UTF_8));
    }
    input.writeBytes(new byte[] {'"', (byte) 0xff, '"', '\n'});
    input.writeBytes("{\"id\": 12345678901234567890, \"prompt\": \"a\"}".getBytes());
    Cli.Result result = new Cli().input(input.toByteArray()).with(batch("--parallel", "2"));
    assertEquals(ExitCode.FAILURE, result.code(), result.err());
    String text = Json.line(answer("a"));
    String answered = ",\"text\":" + text + ",\"finish_reason\":\"length\"}";
    List<String> lines = result.lines();
    assertEquals("{\"id\":1" + answered, lines.get(0));
    assertError(lines.get(1), "null", "line 2: not JSON: ");
    assertError(lines.get(2), "null", "line 4: expected a JSON object");
    assertError(lines.get(3), "1.10", "line 5: prompt: missing");
    assertError(lines.get(4), "\"no string\"", "line 6: prompt: expected a string");
    assertError(lines.get(5), "true", "line 7: id: expected a string or a number");
    assertEquals("{\"id\":8" + answered, lines.get(6));
    assertError(lines.get(7), "\"empty\"", "prompt");
    assertError(lines.get(8), "\"long\"", "512");
    assertError(lines.get(9), "\"lone\"", "surrogate");
    assertError(lines.get(10), "null", "line 12: not JSON");
    assertError(lines.get(11), "null", "line 13: not UTF-8");
    assertEquals("{\"id\":12345678901234567890" + answered, lines.get(12));
    assertEquals(13, lines.size());
    assertEquals("candle: warning: 10 of 13 prompts failed; their lines say why\n", result.err());
  }

  private static void assertError(String line, String id, String message) {
    assertTrue(line.startsWith("{\"id\":" + id + ",\"error\":\""), line);
    JsonNode error = JsonMapper.shared().readTree(line);
    assertEquals(List.of("id", "error"), new ArrayList<>(error.propertyNames()));
    assertTrue(error.get("error").stringValue().contains(message), line);
  }

  @Test
  void promptsMayBeRawOrHaveInstructions() {
    String line = "{\"id\":1,\"prompt\":\"Hello\"}";
    String raw = new Cli().input(line).with(batch("--raw")).out();
    String plain = new Cli().input(line).with(batch()).out();
    String instructed = new Cli().input(line).with(batch("--system", "Be a fox.")).out();
    String expected =
        Cli.run(
                "generate",
                "--model",
                Golden.LLAMA,
                "--temperature",
                "0",
                "--max-tokens",
                "8",
                "--ignore-eos",
                "--json",
                "--system",
                "Be a fox.",
                "Hello")
            .json()
            .get("text")
            .stringValue();
    assertEquals(expected, JsonMapper.shared().readTree(instructed).get("text").stringValue());
    assertEquals(3, Stream.of(raw, plain, instructed).distinct().count());
  }

  @Test
  void anInterruptedRunGoesOn() throws IOException {
    Path input = folder.resolve("in.jsonl");
    Path output = folder.resolve("out.jsonl");
    Files.writeString(
        input,
        """
        {"id": 1, "prompt": "a"}
        {"id": "twice", "prompt": "b"}
        {"prompt": "third line"}
        {"id": "twice", "prompt": "c"}
        {"id": 2, "prompt": "d"}
        """);
    // What is kept as it is, what failed, and what was cut.
    Files.writeString(
        output,
        """
        {"id":"twice","text":"kept","finish_reason":"stop"}
        {"id":1,"error":"no luck"}
        {"id":3,"text":"kept too","finish_reason":"stop"}
        {"id":2,"te\
        """);
    String[] resume = batch("--input", input.toString(), "--output", output.toString(), "--resume");
    assertEquals(new Cli.Result(ExitCode.OK, "", ""), Cli.run(resume));
    List<String> lines = Files.readAllLines(output);
    assertEquals("{\"id\":\"twice\",\"text\":\"kept\",\"finish_reason\":\"stop\"}", lines.get(0));
    assertEquals("{\"id\":3,\"text\":\"kept too\",\"finish_reason\":\"stop\"}", lines.get(1));
    List<JsonNode> answers = parsed(lines.subList(2, lines.size()));
    assertEquals(3, answers.size());
    assertEquals("1", answers.get(0).get("id").toString());
    assertEquals(answer("a"), answers.get(0).get("text").stringValue());
    assertEquals(answer("c"), answers.get(1).get("text").stringValue());
    assertEquals(answer("d"), answers.get(2).get("text").stringValue());
    // A run that is complete has nothing left to do, and one without --resume begins anew.
    assertEquals(ExitCode.OK, Cli.run(resume).code());
    assertEquals(lines, Files.readAllLines(output));
    Cli.run(batch("--input", input.toString(), "--output", output.toString()));
    assertEquals(5, Files.readAllLines(output).size());
    assertFalse(Files.readString(output).contains("kept"));
  }

  @Test
  void whatCannotWorkIsSaidBeforeTheOutputIsTouched() throws IOException {
    Path input = Files.writeString(folder.resolve("in.jsonl"), "{\"prompt\": \"a\"}\n");
    Path output = Files.writeString(folder.resolve("out.jsonl"), "precious");
    String in = input.toString();
    String out = output.toString();
    assertFailure(
        3,
        "no such file or folder",
        "batch",
        "--model",
        "/nowhere",
        "--input",
        in,
        "--output",
        out);
    assertFailure(2, "no such file", batch("--input", in + ".not", "--output", out));
    assertFailure(2, "is a folder", batch("--input", folder.toString(), "--output", out));
    assertFailure(2, "same file", batch("--input", in, "--output", in));
    assertFailure(2, "--parallel", batch("--input", in, "--output", out, "--parallel", "0"));
    assertFailure(2, "--resume", batch("--input", in, "--resume"));
    assertFailure(2, "--system", batch("--input", in, "--raw", "--system", "x"));
    assertEquals("precious", Files.readString(output));
    assertEquals("{\"prompt\": \"a\"}\n", Files.readString(input));
    assertFailure(2, "cannot write", batch("--input", in, "--output", out + "/not"));
  }

  @Test
  void anOutputThatIsFullEndsTheRun() throws IOException {
    assumeTrue(Files.exists(Path.of("/dev/full")));
    Path input = folder.resolve("in.jsonl");
    Files.write(input, java.util.Collections.nCopies(3000, "{\"prompt\": \"a\"}"));
    assertFailure(
        1,
        "cannot write the output: No space left on device",
        batch("--input", input.toString(), "--output", "/dev/full"));
  }

  private static void assertFailure(int code, String word, String... args) {
    Cli.Result result = Cli.run(args);
    assertEquals(code, result.code(), result.err());
    assertTrue(result.err().contains(word), result.err());
    assertEquals(1, result.err().lines().count(), result.err());
  }
}
