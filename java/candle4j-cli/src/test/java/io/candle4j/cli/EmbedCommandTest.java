package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class EmbedCommandTest {
  private static final Path ENCODERS =
      Path.of(System.getProperty("candle4j.test.models")).resolveSibling("encoders");
  private static final JsonNode EXPECTED =
      JsonMapper.shared().readTree(ENCODERS.resolveSibling("encoders.json").toFile());

  private static String model(String name) {
    return ENCODERS.resolve(name).toString();
  }

  private static void assertVector(JsonNode expected, JsonNode got) {
    assertEquals(expected.size(), got.size());
    for (int i = 0; i < expected.size(); i++) {
      assertEquals(expected.get(i).doubleValue(), got.get(i).doubleValue(), 1e-4);
    }
  }

  @Test
  void vectorsAreThoseOfSentenceTransformers() {
    JsonNode expected = EXPECTED.get("bert-cls");
    List<String> arguments =
        new ArrayList<>(List.of("embed", "--model", model("bert-cls"), "--no-normalize", "--json"));
    expected.get("texts").forEach(text -> arguments.add(text.stringValue()));
    JsonNode got = Cli.run(arguments.toArray(String[]::new)).json();
    for (int i = 0; i < expected.get("vectors").size(); i++) {
      assertVector(expected.get("vectors").get(i), got.get("embeddings").get(i));
    }
    assertEquals(expected.get("prompt_tokens"), got.get("prompt_tokens"));
    String tokens = Golden.joined(expected.get("tokens").get(2));
    JsonNode given =
        Cli.run(
                "embed",
                "--model",
                model("bert-cls"),
                "--no-normalize",
                "--json",
                "--tokens",
                tokens)
            .json();
    assertVector(expected.get("token_vectors").get(2), given.get("embeddings").get(0));
    assertEquals(40, given.get("prompt_tokens").get(0).intValue());
  }

  @Test
  void promptsHaveNames() {
    JsonNode expected = EXPECTED.get("bert-prompts");
    String text = expected.get("texts").get(2).stringValue();
    JsonNode got =
        Cli.run(
                "embed",
                "--model",
                model("bert-prompts"),
                "--prompt-name",
                "query",
                "--no-normalize",
                "--json",
                text)
            .json();
    assertVector(expected.get("prompts").get("query").get(2), got.get("embeddings").get(0));
    Cli.Result wrong =
        Cli.run("embed", "--model", model("bert-prompts"), "--prompt-name", "other", text);
    assertEquals(ExitCode.USAGE, wrong.code());
    assertTrue(wrong.err().contains("document, query"), wrong.err());
  }

  @Test
  void filesBecomeFiles(@TempDir Path folder) throws IOException {
    Path in = folder.resolve("in.jsonl");
    Files.writeString(in, "{\"text\": \"one\"}\n\n{\"text\": \"two words\", \"id\": 3}\n");
    Path lines = folder.resolve("out.jsonl");
    Path array = folder.resolve("out.npy");
    for (Path out : List.of(lines, array)) {
      Cli.Result result =
          Cli.run(
              "embed",
              "--model",
              model("bert-mean"),
              "--in",
              in.toString(),
              "--out",
              out.toString());
      assertEquals(ExitCode.OK, result.code(), result.err());
      assertFalse(Files.exists(folder.resolve(out.getFileName() + ".part")));
    }
    List<String> written = Files.readAllLines(lines);
    assertEquals(2, written.size());
    JsonNode second = JsonMapper.shared().readTree(written.get(1)).get("embedding");
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(array)).order(ByteOrder.LITTLE_ENDIAN);
    assertEquals(128 + 2 * 32 * 4, bytes.remaining());
    String header = new String(bytes.array(), 10, 118, StandardCharsets.US_ASCII);
    assertTrue(header.contains("'shape': (2, 32)"), header);
    for (int i = 0; i < 32; i++) {
      assertEquals(second.get(i).floatValue(), bytes.getFloat(128 + (32 + i) * 4), 1e-6);
    }
    Files.writeString(in, "{\"text\": 3}\n");
    Cli.Result wrong = Cli.run("embed", "--model", model("bert-mean"), "--in", in.toString());
    assertEquals(ExitCode.FAILURE, wrong.code());
    assertTrue(wrong.out().contains("line 1"), wrong.out());
  }

  @Test
  void linesThatAreNoTextsLoseNoOther(@TempDir Path folder) throws IOException {
    Path in = folder.resolve("in.jsonl");
    Files.write(
        in,
        "{\"text\": \"one\"}\nno json\n{\"text\": \"\u00ff\"}\n{\"text\": \"two\"}\n"
            .getBytes(StandardCharsets.ISO_8859_1));
    String[] command = {"embed", "--model", model("bert-mean"), "--in", in.toString()};
    Cli.Result result = Cli.run(command);
    assertEquals(ExitCode.FAILURE, result.code());
    List<String> lines = result.out().lines().toList();
    assertEquals(4, lines.size());
    assertTrue(lines.get(1).contains("line 2: not JSON"), lines.get(1));
    assertTrue(lines.get(2).contains("line 3: not UTF-8"), lines.get(2));
    List<String> all = new ArrayList<>(List.of(command));
    all.add("--json");
    Cli.Result json = Cli.run(all.toArray(String[]::new));
    assertEquals(ExitCode.FAILURE, json.code());
    JsonNode object = JsonMapper.shared().readTree(json.out());
    assertTrue(
        object.get("embeddings").get(1).isNull() && object.get("prompt_tokens").get(2).isNull());
    assertEquals(
        JsonMapper.shared().readTree(lines.get(3)).get("embedding").size(),
        object.get("embeddings").get(3).size());
    assertEquals(2, object.get("errors").size());
  }

  @Test
  void whatCannotBeIsRefused(@TempDir Path folder) {
    Cli.Result both =
        Cli.run(
            "embed",
            "--model",
            model("bert-prompts"),
            "--prompt",
            "a",
            "--prompt-name",
            "query",
            "b");
    assertEquals(ExitCode.USAGE, both.code());
    assertTrue(both.err().contains("--prompt-name"), both.err());
    Cli.Result in = Cli.run("embed", "--model", model("bert-mean"), "--in", folder.toString());
    assertEquals(ExitCode.USAGE, in.code());
    assertTrue(in.err().contains("is a folder"), in.err());
  }

  @Test
  void similarLinesAreFound(@TempDir Path folder) throws IOException {
    Path in = folder.resolve("in.txt");
    Files.writeString(in, "something else entirely\nthe quick brown fox\n\nwhat is the capital\n");
    JsonNode found =
        Cli.run(
                "similar",
                "the quick brown fox",
                "--in",
                in.toString(),
                "--model",
                model("bert-mean"),
                "--top",
                "2",
                "--json")
            .json();
    assertEquals(2, found.size());
    assertEquals(2, found.get(0).get("line").intValue());
    assertEquals(1, found.get(0).get("score").doubleValue(), 1e-5);
  }

  @Test
  void scoresAreThoseOfSentenceTransformers() {
    JsonNode expected = EXPECTED.get("bert-rerank");
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "rerank",
                "--model",
                model("bert-rerank"),
                "--query",
                expected.get("query").stringValue(),
                "--json"));
    expected.get("documents").forEach(document -> arguments.add(document.stringValue()));
    JsonNode scores = Cli.run(arguments.toArray(String[]::new)).json().get("scores");
    for (int i = 0; i < scores.size(); i++) {
      assertEquals(
          expected.get("scores").get(i).get(0).doubleValue(), scores.get(i).doubleValue(), 1e-4);
    }
  }
}
