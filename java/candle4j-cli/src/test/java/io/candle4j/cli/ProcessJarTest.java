package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import tools.jackson.databind.JsonNode;

/** What depends on the process: that the jar is complete, its threads, its locale. */
class ProcessJarTest {
  @Test
  void theJarHasEverything() {
    Cli.Result result =
        new Jar().run("generate", "Tell me a story about a fox", "--max-tokens", "8");
    assertEquals(ExitCode.OK, result.code(), result.err());
    assertEquals("", result.err());
    assertTrue(result.out().length() > 8, result.out());
  }

  @Test
  void theNumberOfThreadsIsFixedBeforeAnythingElse() {
    JsonNode info = new Jar().run("info", "--threads", "3", "--json").json();
    assertEquals(3, info.get("runtime").get("threads").intValue());
    assertEquals(
        "5",
        new Jar()
            .environment("CANDLE_NUM_THREADS", "5")
            .run("info", "--json")
            .json()
            .get("runtime")
            .get("threads")
            .toString());
    assertEquals(
        new ArrayList<>(java.util.List.of("runtime")), new ArrayList<>(info.propertyNames()));
  }

  @Test
  @EnabledOnOs(value = OS.LINUX, disabledReason = "elsewhere arguments are Unicode")
  void anArgumentThatTheLocaleLacksIsRefused() {
    Cli.Result result =
        new Jar().environment("LC_ALL", "C").run("generate", "F\u00fcchse", "--max-tokens", "1");
    assertEquals(ExitCode.USAGE, result.code());
    assertTrue(result.err().startsWith("candle: an argument has characters"), result.err());
    assertEquals(1, result.err().lines().count(), result.err());
  }

  @Test
  @EnabledOnOs(value = OS.LINUX, disabledReason = "elsewhere the JVM opens files otherwise")
  void aClosedStandardInputIsEmpty() {
    Cli.Result prompted = new Jar().withoutInput().run("generate", "Hi", "--max-tokens", "1");
    assertEquals(ExitCode.OK, prompted.code(), prompted.err());
    Cli.Result empty = new Jar().withoutInput().run("generate", "--max-tokens", "1");
    assertEquals(ExitCode.USAGE, empty.code(), empty.out());
    assertEquals(1, empty.err().lines().count(), empty.err());
    Cli.Result chat = new Jar().withoutInput().run("chat");
    assertEquals("", chat.out());
    assertEquals(ExitCode.OK, chat.code(), chat.err());
  }
}
