package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.candle4j.CandleModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** The command lines of the README do what they should, with models that are there. */
class ReadmeCommandsTest {
  private static final Pattern WORD = Pattern.compile("\"([^\"]*)\"|(\\S+)");

  @TempDir static Path folder;

  @TestFactory
  List<DynamicTest> everyCommandLine() throws IOException {
    List<String> lines =
        Files.readAllLines(Path.of(System.getProperty("candle4j.test.readme"))).stream()
            .filter(line -> line.startsWith("scripts/candle "))
            .map(line -> line.replaceFirst("\\s+#.*", ""))
            .toList();
    assertTrue(lines.size() >= 5, lines.toString());
    Path schema = folder.resolve("person.json");
    Files.writeString(schema, "{\"type\": \"object\"}");
    String gguf;
    try (CandleModel model = CandleModel.load(CandleModel.BUILT_IN)) {
      gguf = model.info().path().toString();
    }
    return lines.stream()
        .map(line -> DynamicTest.dynamicTest(line, () -> runs(line, gguf, schema)))
        .toList();
  }

  private static void runs(String line, String gguf, Path schema) {
    List<String> args = new ArrayList<>();
    for (MatchResult word : WORD.matcher(line).results().skip(1).toList()) {
      args.add(word.group(1) == null ? word.group(2) : word.group(1));
    }
    args.replaceAll(arg ->
        switch (arg) {
          case "path/to/folder" -> Golden.LLAMA;
          case "model.gguf" -> gguf;
          case "person.json" -> schema.toString();
          case "README.md" -> System.getProperty("candle4j.test.readme");
          default -> arg;
        });
    if (args.get(0).equals("generate")) {
      args.addAll(List.of("--max-tokens", "3"));
    }
    Cli.Result result = Cli.run(args.toArray(String[]::new));
    assertEquals(ExitCode.OK, result.code(), result.err());
    assertTrue(!result.out().isBlank());
  }
}
