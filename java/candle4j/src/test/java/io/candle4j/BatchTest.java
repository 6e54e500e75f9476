package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** Many prompts at once. */
class BatchTest {
  private static final int PROMPTS = 40;
  private static final int TOO_LONG = 17;
  private static final GenerateOptions OPTIONS = Golden.greedy(8);

  @Test
  void resultsAreInOrderAndFailuresStayWhereTheyAre() {
    try (CandleModel model = Golden.load("llama-gqa");
        CandleSession session = model.newSession()) {
      List<String> prompts = new ArrayList<>();
      for (int i = 0; i < PROMPTS; i++) {
        prompts.add(
            i == TOO_LONG ? "too long ".repeat(2000) : "word ".repeat(i % 7) + "number " + i);
      }
      List<Integer> done = new ArrayList<>();
      Thread caller = Thread.currentThread();
      List<BatchResult> results =
          model.generateAll(
              Golden.requests(prompts, OPTIONS),
              4,
              (index, result, count, total) -> {
                assertSame(caller, Thread.currentThread());
                assertEquals(index == TOO_LONG, result instanceof BatchResult.Failed);
                assertEquals(PROMPTS, total);
                done.add(index);
                assertEquals(done.size(), count);
              });
      assertEquals(PROMPTS, results.size());
      for (int i = 0; i < PROMPTS; i++) {
        if (i == TOO_LONG) {
          BatchResult.Failed failed =
              assertInstanceOf(BatchResult.Failed.class, results.get(TOO_LONG));
          assertInstanceOf(ContextFullException.class, failed.cause());
          assertThrows(ContextFullException.class, failed::orElseThrow);
        } else {
          assertEquals(
              session.generate(Golden.request(prompts.get(i), OPTIONS)).tokenIds(),
              results.get(i).orElseThrow().tokenIds());
        }
      }
      assertEquals(IntStream.range(0, PROMPTS).boxed().toList(), done.stream().sorted().toList());
    }
  }

  @Test
  @EnabledOnOs(value = OS.LINUX, disabledReason = "only Linux tells the resident size this way")
  void workersShareOneCopyOfTheWeights() throws Exception {
    // What the JVM itself needs for a batch is there before anything is measured.
    try (CandleModel small = Golden.load("llama-plain")) {
      small.generateAll(
          Golden.requests(Collections.nCopies(PROMPTS, "One"), Golden.greedy(2)),
          4,
          Golden.IGNORED);
    }
    System.gc();
    try (CandleModel model = CandleModel.load(CandleModel.BUILT_IN)) {
      GenerateOptions options = Golden.greedy(2);
      long weights = model.info().parameters();
      model.generateAll(Golden.requests(List.of("One"), options), 1, Golden.IGNORED);
      long before = Resident.bytes();
      model.generateAll(Golden.requests(Collections.nCopies(4, "One"), options), 4, Golden.IGNORED);
      long growth = Resident.bytes() - before;
      // Each parameter takes a byte and more; what grows is the workers' caches.
      assertTrue(growth < weights / 2, growth + " bytes for 3 more workers, weights " + weights);
    }
  }

  @Test
  void whatAListenerThrowsStopsTheBatch() {
    try (CandleModel model = Golden.load("llama-plain")) {
      RuntimeException mine = new RuntimeException("mine");
      RuntimeException thrown =
          assertThrows(
              RuntimeException.class,
              () ->
                  model.generateAll(
                      Golden.requests(Collections.nCopies(50, "Again"), OPTIONS),
                      2,
                      (index, result, done, total) -> {
                        throw mine;
                      }));
      assertSame(mine, thrown);
    }
  }

  @Test
  void nothingToDoIsDone() {
    try (CandleModel model = Golden.load("llama-plain")) {
      assertEquals(List.of(), model.generateAll(Golden.requests(List.of(), OPTIONS)));
      assertThrows(
          IllegalArgumentException.class,
          () -> model.generateAll(Golden.requests(List.of("x"), OPTIONS), -1, Golden.IGNORED));
    }
  }
}
