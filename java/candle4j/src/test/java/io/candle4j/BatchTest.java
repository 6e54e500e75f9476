package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Many prompts at once. */
class BatchTest {
  private static final GenerateOptions OPTIONS = Golden.greedy(8).toBuilder().raw(true).build();

  @Test
  void resultsAreInOrderAndFailuresStayWhereTheyAre() {
    try (CandleModel model = Golden.load("llama-gqa");
        CandleSession session = model.newSession()) {
      List<String> prompts = new ArrayList<>();
      for (int i = 0; i < 10; i++) {
        prompts.add(i == 4 ? "too long ".repeat(2000) : "Prompt number " + i);
      }
      List<Integer> done = new ArrayList<>();
      Thread caller = Thread.currentThread();
      List<BatchResult> results =
          model.generateAll(
              prompts,
              OPTIONS,
              3,
              (index, count, total) -> {
                assertSame(caller, Thread.currentThread());
                assertEquals(10, total);
                done.add(index);
                assertEquals(done.size(), count);
              });
      assertEquals(10, results.size());
      for (int i = 0; i < 10; i++) {
        if (i == 4) {
          BatchResult.Failed failed = assertInstanceOf(BatchResult.Failed.class, results.get(4));
          assertInstanceOf(ContextFullException.class, failed.cause());
          assertThrows(ContextFullException.class, failed::orElseThrow);
        } else {
          assertEquals(
              session.generate(prompts.get(i), OPTIONS).tokenIds(),
              results.get(i).orElseThrow().tokenIds());
        }
      }
      assertEquals(IntStream.range(0, 10).boxed().toList(), done.stream().sorted().toList());
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
                      java.util.Collections.nCopies(50, "Again"),
                      OPTIONS,
                      2,
                      (index, done, total) -> {
                        throw mine;
                      }));
      assertSame(mine, thrown);
    }
  }

  @Test
  void nothingToDoIsDone() {
    try (CandleModel model = Golden.load("llama-plain")) {
      assertEquals(List.of(), model.generateAll(List.of(), OPTIONS));
      assertThrows(
          IllegalArgumentException.class, () -> model.generateAll(List.of("x"), OPTIONS, -1, null));
    }
  }
}
