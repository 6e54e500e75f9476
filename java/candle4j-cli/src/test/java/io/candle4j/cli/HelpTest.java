package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

class HelpTest {
  private static final List<String> COMMANDS =
      List.of(
          "generate",
          "chat",
          "run",
          "serve",
          "batch",
          "embed",
          "similar",
          "rerank",
          "pull",
          "ls",
          "rm",
          "verify",
          "info",
          "score",
          "bench",
          "completion");

  @Test
  void theProgramListsItsCommands() {
    Cli.Result help = Cli.run("--help");
    assertEquals(ExitCode.OK, help.code());
    for (String command : COMMANDS) {
      assertTrue(help.out().contains("\n  " + command + " "), command);
    }
    assertEquals(help, Cli.run());
  }

  @ParameterizedTest
  @FieldSource("COMMANDS")
  void eachCommandExplainsItselfAndTheExitCodes(String command) {
    Cli.Result help = Cli.run(command, "--help");
    assertEquals(ExitCode.OK, help.code());
    assertEquals("", help.err());
    assertTrue(help.out().startsWith("Usage: candle " + command), help.out());
    for (int code : new int[] {0, 1, 2, 3, 4, 130}) {
      assertTrue(help.out().matches("(?s).*\n +" + code + "   .*"), help.out());
    }
    assertFalse(help.out().contains("\033"));
    assertEquals("candle 0.1.0\n", Cli.run(command, "--version").out());
  }

  @Test
  void completionKnowsCommandsAndOptions() throws Exception {
    Cli.Result script = Cli.run("completion");
    assertEquals(ExitCode.OK, script.code());
    for (String word : new String[] {"generate", "score", "--max-tokens", "--repeat-penalty"}) {
      assertTrue(script.out().contains(word), word);
    }
    Path file = Files.createTempFile("completion", ".sh");
    try {
      Files.writeString(file, script.out());
      assertEquals(0, new ProcessBuilder("bash", "-n", file.toString()).start().waitFor());
    } finally {
      Files.delete(file);
    }
  }

  @Test
  void helpIsColouredOnATerminal() {
    Cli.Result help =
        new Cli().terminals(Descriptors.OUT).environment(Map.of("TERM", "xterm")).with("--help");
    assertTrue(help.out().contains("\033[1mcandle"), help.out());
  }
}
