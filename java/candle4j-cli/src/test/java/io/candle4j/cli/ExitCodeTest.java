package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Each class of failure has its exit code and one line. */
class ExitCodeTest {
  private static Arguments failing(int code, String word, String... args) {
    return Arguments.of(code, word, args);
  }

  static List<Arguments> failures() {
    String llama = Golden.LLAMA;
    return List.of(
        failing(2, "there is no command nonsense", "nonsense"),
        failing(2, "did you mean generate", "genrate"),
        failing(2, "unknown option --nonsense", "generate", "--nonsense", "x"),
        failing(2, "unexpected argument", "generate", "two", "words"),
        failing(2, "--model", "generate", "x", "--model"),
        failing(2, "'x' is not a token id", "generate", "--tokens", "1,x"),
        failing(2, "-1 is not a token id", "generate", "--model", llama, "--tokens", "-1"),
        failing(2, "384", "generate", "--model", llama, "--tokens", "1,384"),
        failing(2, "exclude each other", "generate", "x", "--prompt", "y"),
        failing(2, "exclude each other", "generate", "--tokens", "1", "--prompt", "y"),
        failing(2, "--system", "generate", "x", "--raw", "--system", "y"),
        failing(2, "--max-tokens: expected at least 1", "generate", "x", "--max-tokens", "0"),
        failing(2, "--max-tokens", "generate", "x", "--max-tokens", "many"),
        failing(2, "--temperature: got -1", "generate", "x", "--temperature", "-1"),
        failing(2, "--temperature: got NaN", "generate", "x", "--temperature", "NaN"),
        failing(2, "--top-p", "generate", "x", "--top-p", "2"),
        failing(2, "--top-k", "generate", "x", "--top-k", "-1"),
        failing(2, "--min-p", "generate", "x", "--min-p", "-1"),
        failing(2, "--repeat-penalty", "generate", "x", "--repeat-penalty", "0"),
        failing(2, "--seed", "generate", "x", "--seed", "18446744073709551616"),
        failing(2, "--stop", "generate", "x", "--stop", ""),
        failing(2, "--device", "generate", "x", "--device", "abacus"),
        failing(2, "--precision", "generate", "x", "--precision", "f7"),
        failing(2, "--threads: expected 1", "generate", "x", "--threads", "0"),
        failing(2, "--revision", "generate", "x", "--revision", "main"),
        failing(2, "--revision", "generate", "x", "--model", llama, "--revision", "main"),
        failing(2, "context_length", "generate", "x", "--model", llama, "--context", "513"),
        failing(2, "prompt", "generate", "--model", llama, ""),
        failing(2, "--tokens or --text", "score"),
        failing(2, "--top", "score", "--tokens", "1", "--top", "-1"),
        failing(2, "--parallel", "bench", "--parallel", "1,0"),
        failing(2, "context of 512", "bench", "--model", llama, "--prompt-tokens", "500"),
        failing(2, "ID", "pull"),
        failing(3, "no such file or folder", "generate", "x", "--model", "/nowhere/at/all"),
        failing(3, "device cuda", "generate", "x", "--model", llama, "--device", "cuda"),
        failing(
            3,
            "hidden_act",
            "generate",
            "x",
            "--model",
            Golden.folder("llama-gelu").toString(),
            "--engine",
            "candle"),
        failing(3, "chat template", "chat", "--model", Golden.MISTRAL),
        failing(3, "chat", "generate", "x", "--model", Golden.MISTRAL, "--system", "y"),
        failing(3, "chat template", "batch", "--model", Golden.MISTRAL, "--system", "y"));
  }

  @ParameterizedTest
  @MethodSource("failures")
  void oneLineAndItsCode(int code, String word, String[] args) {
    Cli.Result result = Cli.run(args);
    assertOneLine(result, code, word);
  }

  private static void assertOneLine(Cli.Result result, int code, String word) {
    assertEquals(code, result.code(), result.err());
    assertEquals("", result.out());
    assertTrue(result.err().startsWith("candle: "), result.err());
    assertEquals(1, result.err().lines().count(), result.err());
    assertTrue(result.err().contains(word), result.err());
  }

  @Test
  void foldersThatAreNoModels(@TempDir Path folder) throws IOException {
    assertOneLine(Cli.run("generate", "x", "--model", folder.toString()), 3, "config.json");
    Path file = Files.writeString(folder.resolve("file"), "text");
    assertOneLine(Cli.run("generate", "x", "--model", file.toString()), 3, "file");
    Files.createDirectory(folder.resolve("config.json"));
    assertOneLine(Cli.run("generate", "x", "--model", folder.toString()), 3, "config.json");
  }

  @Test
  void whereItCameFromOnRequest() {
    Cli.Result result = Cli.run("generate", "x", "--model", "/nowhere/at/all", "--verbose");
    assertEquals(3, result.code());
    assertTrue(result.err().lines().findFirst().orElseThrow().endsWith("no such file or folder"));
    assertTrue(result.err().contains("ModelException$Invalid"), result.err());
    assertTrue(result.err().contains("\tat io.candle4j"), result.err());
  }

  @Test
  void aTokenOfTheEnvironmentIsNeverShown() {
    Map<String, String> environment = Map.of("HF_TOKEN", "hf_verysecret");
    Cli.Result result =
        new Cli()
            .environment(environment)
            .with("generate", "x", "--verbose", "--model", "/nowhere/hf_verysecret");
    assertEquals(3, result.code());
    assertTrue(result.err().contains("/nowhere/***"), result.err());
    assertTrue(!result.err().contains("hf_verysecret"), result.err());
  }

  @Test
  void messagesCannotSteerATerminal() {
    Cli.Result result =
        new Cli()
            .terminals(Descriptors.ERR)
            .environment(Map.of("TERM", "xterm", "NO_COLOR", "1"))
            .with("generate", "x", "--model", "/nowhere/\033[2Ja\nb");
    assertEquals("candle: /nowhere/\uFFFD[2Ja b: no such file or folder\n", result.err());
  }
}
