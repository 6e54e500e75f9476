package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Closing: twice, early, late, during calls, and in the wrong order. */
@Timeout(60)
class LifecycleTest {
  private static final String CASE = "llama-plain";

  @Test
  void closingTwiceIsFineAndUseAfterwardsIsNot() {
    CandleModel model = Golden.load(CASE);
    CandleSession session = model.newSession();
    CandleTokenizer tokenizer = model.tokenizer();
    session.close();
    session.close();
    assertThrows(
        IllegalStateException.class,
        () -> session.generate(Golden.request(Golden.prompt(CASE), Golden.greedy(1))));
    assertThrows(IllegalStateException.class, () -> session.score(TokenIds.of(new int[] {1}), 1));
    assertThrows(IllegalStateException.class, session::reset);
    model.close();
    model.close();
    assertThrows(IllegalStateException.class, model::newSession);
    assertThrows(IllegalStateException.class, model::info);
    assertThrows(IllegalStateException.class, () -> tokenizer.encode("x"));
  }

  @Test
  void sessionsOutliveTheirModel() {
    CandleModel model = Golden.load(CASE);
    try (CandleSession session = model.newSession()) {
      model.close();
      SessionTest.assertGolden(session);
    }
  }

  @Test
  void closingWhileGeneratingCancels() throws Exception {
    try (CandleModel model = Golden.load(CASE)) {
      for (int round = 0; round < 200; round++) {
        CandleSession session = model.newSession();
        CountDownLatch started = new CountDownLatch(1);
        AtomicReference<Object> outcome = new AtomicReference<>();
        Thread thread =
            Thread.ofPlatform()
                .start(() -> {
                  try {
                    started.countDown();
                    outcome.set(
                        session
                            .generate(Golden.request(Golden.prompt(CASE), Golden.greedy(400)))
                            .finishReason());
                  } catch (IllegalStateException e) {
                    outcome.set(e);
                  }
                });
        started.await();
        if (round % 2 == 0) {
          Thread.sleep(0, round * 5000);
        }
        session.close();
        thread.join();
        boolean right =
            outcome.get() == FinishReason.CANCELLED
                || outcome.get() instanceof IllegalStateException
                || outcome.get() == FinishReason.LENGTH;
        assertTrue(right, String.valueOf(outcome.get()));
      }
    }
  }

  @Test
  void openingSessionsRacesClosing() throws Exception {
    for (int round = 0; round < 30; round++) {
      CandleModel model = Golden.load(CASE);
      List<Thread> threads = new ArrayList<>();
      List<Throwable> unexpected = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        threads.add(
            Thread.ofPlatform()
                .start(() -> {
                  try (CandleSession session = model.newSession()) {
                    SessionTest.assertGolden(session);
                  } catch (IllegalStateException closed) {
                    // As it should be.
                  } catch (Throwable t) {
                    synchronized (unexpected) {
                      unexpected.add(t);
                    }
                  }
                }));
      }
      model.close();
      for (Thread thread : threads) {
        thread.join();
      }
      assertEquals(List.of(), unexpected);
    }
  }

  @Test
  void sessionsOfOneModelRunSideBySide() throws Exception {
    try (CandleModel model = Golden.load(CASE)) {
      List<Thread> threads = new ArrayList<>();
      List<List<Integer>> answers = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        threads.add(
            Thread.ofPlatform()
                .start(() -> {
                  try (CandleSession session = model.newSession()) {
                    List<Integer> ids =
                        session
                            .generate(Golden.request(Golden.prompt(CASE), Golden.greedy(16)))
                            .tokenIds();
                    synchronized (answers) {
                      answers.add(ids);
                    }
                  }
                }));
      }
      for (Thread thread : threads) {
        thread.join();
      }
      assertEquals(java.util.Collections.nCopies(8, Golden.greedy(CASE)), answers);
    }
  }
}
