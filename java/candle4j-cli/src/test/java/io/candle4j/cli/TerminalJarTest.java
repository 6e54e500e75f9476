package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.api.io.TempDir;

/** What a person sees on a terminal. */
@EnabledIf(value = "io.candle4j.cli.Jar#hasTerminals", disabledReason = "no command script")
class TerminalJarTest {
  private static final String CTRL_C = "\003";
  private static final Pattern COLOUR = Pattern.compile("\033\\[[0-9;]*m");

  @TempDir private Path folder;

  private Jar onTerminal() {
    return new Jar().onTerminal().environment("XDG_STATE_HOME", folder.resolve("state").toString());
  }

  @Test
  void answersAreColouredUnlessUnwanted() {
    String[] args = {"generate", "--model", Golden.LLAMA, "--max-tokens", "4", "--tokens", "1,2,3"};
    assertTrue(onTerminal().run(args).out().contains("\033[36m"));
    // Bars move the cursor, with and without colours, when loading takes its time.
    String uncoloured = onTerminal().environment("NO_COLOR", "1").run(args).out();
    assertFalse(COLOUR.matcher(uncoloured).find(), uncoloured);
    assertFalse(onTerminal().environment("TERM", "dumb").run(args).out().contains("\033"));
  }

  @Test
  void aDownloadThatTakesLongShowsBars() {
    try (FakeHub hub = new FakeHub()) {
      hub.slowDown(40);
      Jar jar =
          onTerminal()
              .environment("HF_HOME", folder.resolve("hub").toString())
              .environment("HF_ENDPOINT", hub.endpoint());
      Cli.Result result = jar.run("pull", FakeHub.MODEL);
      assertEquals(ExitCode.OK, result.code(), result.out());
      assertTrue(result.out().contains("model.safetensors"), result.out());
      assertTrue(result.out().matches("(?s).*fetching \\d/5 files.*"), result.out());
      assertTrue(result.out().contains("%"), result.out());
      assertTrue(result.out().contains("kB/s"), result.out());
      assertTrue(result.out().contains(" left"), result.out());
      assertTrue(result.out().stripTrailing().endsWith(FakeHub.COMMIT), result.out());

      jar.environment("HF_HOME", folder.resolve("quiet").toString());
      Cli.Result quiet = jar.run("pull", "--quiet", FakeHub.MODEL);
      assertEquals(1, quiet.lines().size(), quiet.out());
      assertTrue(quiet.out().stripTrailing().endsWith(FakeHub.COMMIT), quiet.out());
    }
  }

  @Test
  void rmAsksAPerson() {
    try (FakeHub hub = new FakeHub()) {
      Jar jar =
          onTerminal()
              .environment("HF_HOME", folder.resolve("hub").toString())
              .environment("HF_ENDPOINT", hub.endpoint());
      assertEquals(ExitCode.OK, jar.run("pull", FakeHub.MODEL).code());
      Jar.Running no = jar.start("rm", FakeHub.MODEL);
      Cli.Result kept = no.awaitOut("kB)? [y/N] ").type("n\n").result();
      assertFalse(kept.out().contains("reclaimed"), kept.out());
      Jar.Running yes = jar.start("rm", FakeHub.MODEL);
      Cli.Result removed = yes.awaitOut("[y/N] ").type("y\n").result();
      assertTrue(removed.out().contains("reclaimed"), removed.out());
    }
  }

  @Test
  void ctrlCStopsAnAnswerAndNotTheChat() throws IOException {
    String endless = Golden.endless(folder.resolve("endless"));
    Jar.Running chat =
        onTerminal()
            .start(
                "chat",
                "--model",
                endless,
                "--temperature",
                "0",
                "--max-tokens",
                "100000",
                "--ignore-eos");
    chat.awaitOut(">>> ").type("Hello\r").awaitOut("\033[36m").type(CTRL_C);
    // Ctrl-C takes with it what was typed ahead, so each step waits for the prompt. The second one
    // stands behind the answer, and the terminal is as before.
    chat.awaitOut("\033[0m\r\n").awaitOut(">>> ").type("/system\r").awaitOut("(no instructions)");
    chat.awaitOut(">>> ").type("/nonsense\r").awaitOut("there is no command /nonsense");
    chat.awaitOut(">>> ").type("/bye\r");
    Cli.Result result = chat.result();
    assertEquals(ExitCode.OK, result.code(), result.out());
    String history = Files.readString(folder.resolve("state/candle4j/chat_history"));
    assertTrue(history.contains(":Hello\n"), history);
  }
}
