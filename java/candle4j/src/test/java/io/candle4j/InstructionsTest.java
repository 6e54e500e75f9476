package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * Which instruction sets compute: what the program says, the environment, or the best there are.
 */
class InstructionsTest {
  private static final String CASE = "qwen3-plain";

  private static List<String> run(ChildJvm child, String... limits) throws Exception {
    List<String> command =
        new ArrayList<>(
            List.of("-cp", ChildJvm.classPath(), InstructionsProbe.class.getName(), CASE));
    command.addAll(List.of(limits));
    ChildJvm.Result result =
        child
            .option("--enable-native-access=ALL-UNNAMED")
            .option("-Dcandle4j.cache=" + System.getProperty("candle4j.cache"))
            .option("-Dcandle4j.test.models=" + Golden.folder(""))
            .run(command.toArray(String[]::new));
    assertEquals(0, result.exit(), result.err());
    return result.out().lines().toList();
  }

  private static String answer(String instructions) {
    return instructions + " " + Golden.greedy(CASE);
  }

  @Test
  void theProgramSaysWhich() throws Exception {
    assertEquals(List.of(answer("portable")), run(new ChildJvm(), "portable"));
    ChildJvm other = new ChildJvm().environment("CANDLE4J_INSTRUCTIONS", "portable");
    String best = CandleRuntime.info().instructions();
    assertEquals(List.of(answer(best)), run(other, best));
  }

  @Test
  void orTheEnvironment() throws Exception {
    ChildJvm child = new ChildJvm().environment("CANDLE4J_INSTRUCTIONS", "portable");
    assertEquals(List.of(answer("portable")), run(child, "-"));
    ChildJvm wrong = new ChildJvm().environment("CANDLE4J_INSTRUCTIONS", "sse");
    String refused = run(wrong, "-").getFirst();
    assertTrue(refused.contains("CANDLE4J_INSTRUCTIONS: expected one of "), refused);
    assertTrue(refused.contains("portable, got \"sse\""), refused);
  }

  @Test
  void aProcessChoosesOnce() throws Exception {
    String best = CandleRuntime.info().instructions();
    List<String> told = run(new ChildJvm(), "-", "portable", best);
    assertEquals(answer(best), told.getFirst());
    assertEquals(answer(best), told.getLast());
    if (!best.equals("portable")) {
      assertTrue(told.get(1).contains("models of this process use " + best), told.get(1));
    }
  }

  @Test
  void whatIsNoneIsRefusedByName() throws Exception {
    String other = CandleRuntime.info().target().endsWith("aarch64") ? "avx2" : "neon";
    for (String wrong : List.of("avx3", "", other)) {
      String refused = run(new ChildJvm(), wrong).getFirst();
      assertTrue(refused.contains("instructions: expected one of "), refused);
    }
  }
}
