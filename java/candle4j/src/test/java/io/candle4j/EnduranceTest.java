package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** Many sessions, one after the other, some of them closed in the middle of an answer. */
class EnduranceTest {
  private static final String MODEL = "llama-gqa";
  private static final int SESSIONS = 1000;
  private static final long GROWTH_LIMIT = 32L << 20;

  @Test
  @EnabledOnOs(value = OS.LINUX, disabledReason = "only Linux tells the resident size this way")
  void aThousandSessionsLeaveNothingBehind() throws Exception {
    try (CandleModel model = Golden.load(MODEL)) {
      int[] prompt = Golden.prompt(MODEL);
      run(model, prompt, 200);
      long before = Resident.bytes();
      run(model, prompt, SESSIONS);
      long growth = Resident.bytes() - before;
      assertTrue(growth < GROWTH_LIMIT, "grew by " + growth + " bytes");
      try (CandleSession session = model.newSession()) {
        assertEquals(
            Golden.greedy(MODEL).subList(0, 8),
            session.generate(Golden.request(prompt, Golden.greedy(8))).tokenIds());
      }
    }
  }

  /** Every fifth session is closed by another thread while it generates. */
  private static void run(CandleModel model, int[] prompt, int sessions) throws Exception {
    for (int i = 0; i < sessions; i++) {
      CandleSession session = model.newSession();
      if (i % 5 == 0) {
        closeWhileGenerating(session, prompt);
      } else {
        assertEquals(
            8, session.generate(Golden.request(prompt, Golden.greedy(8))).tokenIds().size());
        session.close();
      }
    }
  }

  private static void closeWhileGenerating(CandleSession session, int[] prompt) throws Exception {
    Thread[] closer = new Thread[1];
    Generation generation =
        session.generate(
            Golden.request(prompt, Golden.greedy(400)),
            token -> {
              if (closer[0] == null) {
                closer[0] = Thread.ofPlatform().start(session::close);
              }
            });
    closer[0].join();
    assertTrue(
        generation.finishReason() == FinishReason.CANCELLED
            || generation.finishReason() == FinishReason.LENGTH);
  }
}
