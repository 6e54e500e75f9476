package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Signals and pipes that break. */
@DisabledOnOs(value = OS.WINDOWS, disabledReason = "there is no kill")
class InterruptionJarTest {
  @TempDir private static Path folder;
  private static String endless;

  @BeforeAll
  static void makeModel() {
    endless = Golden.endless(folder.resolve("endless"));
  }

  private static String[] endlessly(String... more) {
    String[] args = {
      "generate",
      "--model",
      endless,
      "--max-tokens",
      "100000",
      "--ignore-eos",
      "--temperature",
      "0",
      "--tokens",
      "1,2,3"
    };
    String[] all = java.util.Arrays.copyOf(args, args.length + more.length);
    System.arraycopy(more, 0, all, args.length, more.length);
    return all;
  }

  private static String[] batch(Path output, String... more) throws IOException {
    Path input = folder.resolve("in.jsonl");
    Files.write(input, Collections.nCopies(5000, "{\"prompt\":\"a\"}"));
    String[] args = {
      "batch",
      "--model",
      endless,
      "--input",
      input.toString(),
      "--output",
      output.toString(),
      "--max-tokens",
      "100",
      "--ignore-eos",
      "--parallel",
      "2"
    };
    String[] all = java.util.Arrays.copyOf(args, args.length + more.length);
    System.arraycopy(more, 0, all, args.length, more.length);
    return all;
  }

  @Test
  void ctrlCEndsAnAnswerCleanly() {
    Jar.Running running = new Jar().start(endlessly());
    running.awaitOut("a").signal("INT");
    Cli.Result result = running.result();
    assertEquals(ExitCode.INTERRUPTED, result.code());
    assertEquals("", result.err());
    assertTrue(result.out().endsWith("\n"), "no newline at the end");
  }

  @Test
  void anInterruptedObjectIsPrinted() throws InterruptedException {
    Jar.Running running = new Jar().start(endlessly("--json", "--verbose"));
    running.awaitErr("loaded");
    Thread.sleep(1000);
    Cli.Result result = running.signal("INT").result();
    assertEquals(ExitCode.INTERRUPTED, result.code());
    JsonNode answer = JsonMapper.shared().readTree(result.out());
    assertEquals("cancelled", answer.get("finish_reason").stringValue());
    assertTrue(answer.get("token_ids").size() > 0);
    assertEquals(1, result.lines().size());
  }

  @Test
  void terminationIsCleanToo() {
    Jar.Running running = new Jar().start(endlessly());
    running.awaitOut("a").signal("TERM");
    Cli.Result result = running.result();
    assertEquals(143, result.code());
    assertEquals("", result.err());
    assertTrue(result.out().endsWith("\n"), "no newline at the end");
  }

  @Test
  void aReaderThatLeavesEndsItQuietly() throws IOException, InterruptedException {
    Process process = new Jar().startRaw(endlessly());
    try (InputStream out = process.getInputStream()) {
      assertTrue(out.read() >= 0);
    }
    if (!process.waitFor(20, TimeUnit.SECONDS)) {
      process.destroyForcibly();
      fail("goes on for nobody");
    }
    assertEquals("", new String(process.getErrorStream().readAllBytes()));
    assertEquals(ExitCode.OK, process.exitValue());
  }

  @Test
  void anInterruptedBatchKeepsWhatIsDone() throws IOException, InterruptedException {
    Path output = folder.resolve("out.jsonl");
    Jar.Running running = new Jar().start(batch(output));
    while (!Files.exists(output) || Files.size(output) < 1000) {
      assertTrue(running.process.isAlive());
      Thread.sleep(20);
    }
    Cli.Result result = running.signal("INT").result();
    assertEquals(ExitCode.INTERRUPTED, result.code());
    List<String> lines = Files.readAllLines(output);
    assertTrue(lines.size() < 5000, "it was through");
    int id = 0;
    for (String line : lines) {
      JsonNode answer = JsonMapper.shared().readTree(line);
      assertTrue(answer.get("id").intValue() > id, line);
      id = answer.get("id").intValue();
      assertEquals("length", answer.get("finish_reason").stringValue());
    }
    assertEquals(
        "candle: warning: interrupted after "
            + lines.size()
            + " answers, which are kept; --resume goes on from there\n",
        result.err());

    Jar.Running resumed = new Jar().start(batch(output, "--resume"));
    while (Files.size(output) < 3000) {
      assertTrue(resumed.process.isAlive());
      Thread.sleep(20);
    }
    assertEquals(143, resumed.signal("TERM").result().code());
    List<String> more = Files.readAllLines(output);
    assertEquals(lines, more.subList(0, lines.size()));
  }
}
