package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

/** What sessions that are done leave for others. */
class PrefixCacheTest {
  private static final Request FIRST =
      Request.of("Tell me of the sea. ".repeat(30), GenerateOptions.builder().maxTokens(1).build());
  private static final Request OTHER =
      Request.of("Count to a hundred. ".repeat(30), GenerateOptions.builder().maxTokens(1).build());

  private static Generation run(CandleModel model, PrefixCache cache, Request request) {
    CandleSession session = model.newSession();
    try {
      return session.generate(request);
    } finally {
      cache.keep(session);
    }
  }

  @Test
  void theNewestAreFoundAndTheOldestAreClosed() {
    try (CandleModel model = CandleModel.load(CandleModel.BUILT_IN);
        PrefixCache cache = new PrefixCache(1)) {
      Generation first = run(model, cache, FIRST);
      assertEquals(0, first.cachedTokens());
      assertEquals(first.promptTokens() - 1, run(model, cache, FIRST).cachedTokens());
      run(model, cache, OTHER);
      // What both prompts begin with is there, and no more.
      int shared = run(model, cache, FIRST).cachedTokens();
      assertTrue(shared < first.promptTokens() / 2, () -> shared + " tokens");
    }
  }

  @Test
  void closedCachesKeepNothing() {
    try (CandleModel model = CandleModel.load(CandleModel.BUILT_IN)) {
      PrefixCache cache = new PrefixCache(2);
      CandleSession early = model.newSession();
      cache.keep(early);
      cache.close();
      CandleSession late = model.newSession();
      cache.keep(late);
      for (CandleSession session : List.of(early, late)) {
        assertThrows(IllegalStateException.class, () -> session.generate(FIRST));
      }
    }
    assertThrows(IllegalArgumentException.class, () -> new PrefixCache(-1));
  }
}
