package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Many sessions beside each other: who waits, for how long, and for what memory. */
@Timeout(120)
class SchedulingTest {
  private static final String PROMPT = "Tell me a long story about a lighthouse.";

  private static int[] prompt(int length, int first) {
    return IntStream.range(0, length).map(i -> first + i % 1000).toArray();
  }

  /** On a thread of its own, which the common pool has not always. */
  private static <T> CompletableFuture<T> onThread(Supplier<T> call) {
    return CompletableFuture.supplyAsync(call, task -> Thread.ofPlatform().start(task));
  }

  @Test
  void s1TokensKeepComingWhilePromptsArrive() throws Exception {
    try (CandleModel model = CandleModel.load(CandleModel.BUILT_IN);
        CandleSession decoding = model.newSession()) {
      List<Long> times = new ArrayList<>();
      CountDownLatch started = new CountDownLatch(20);
      CompletableFuture<Generation> answer =
          decoding.submit(
              Golden.request(PROMPT, Golden.greedy(6000)),
              token -> {
                synchronized (times) {
                  times.add(System.nanoTime());
                }
                started.countDown();
              });
      started.await();
      long from = System.nanoTime();
      List<CompletableFuture<Generation>> prompts = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        int first = 100 + 2000 * i;
        prompts.add(
            onThread(() -> {
              try (CandleSession session = model.newSession()) {
                return session.generate(Golden.request(prompt(2000, first), Golden.greedy(1)));
              }
            }));
      }
      for (CompletableFuture<Generation> prompt : prompts) {
        assertEquals(1, prompt.get().completionTokens());
      }
      decoding.cancel();
      assertEquals(FinishReason.CANCELLED, answer.get().finishReason());
      List<Long> gaps = new ArrayList<>();
      synchronized (times) {
        for (int i = 1; i < times.size(); i++) {
          if (times.get(i - 1) > from) {
            gaps.add(TimeUnit.NANOSECONDS.toMillis(times.get(i) - times.get(i - 1)));
          }
        }
      }
      gaps.sort(null);
      assertTrue(gaps.size() > 20, gaps + " while prompts came");
      long p90 = gaps.get(gaps.size() * 9 / 10);
      assertTrue(p90 <= 120 && gaps.get(gaps.size() - 1) <= 400, gaps.toString());
    }
  }

  @Test
  void s4ARequestIsCancelledInTheQueue() throws Exception {
    try (CandleModel model = CandleModel.builder().latencyTarget(Duration.ofMillis(50)).load();
        CandleSession first = model.newSession();
        CandleSession second = model.newSession()) {
      CompletableFuture<Generation> long1 =
          onThread(() -> first.generate(Golden.request(prompt(6000, 100), Golden.greedy(1))));
      CompletableFuture<Generation> long2 =
          onThread(() -> second.generate(Golden.request(prompt(6000, 3000), Golden.greedy(1))));
      Thread.sleep(300);
      long start = System.nanoTime();
      second.cancel();
      assertEquals(FinishReason.CANCELLED, long2.get().finishReason());
      long took = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
      assertTrue(took < 500, took + " ms");
      first.cancel();
      assertEquals(FinishReason.CANCELLED, long1.get().finishReason());
    }
  }

  @Test
  void s5AFullQueueIsATypedErrorOrIsWaitedFor() throws Exception {
    try (CandleModel model = CandleModel.builder().maxRequests(1).load();
        CandleSession one = model.newSession();
        CandleSession two = model.newSession()) {
      CountDownLatch inside = new CountDownLatch(1);
      CountDownLatch leave = new CountDownLatch(1);
      CompletableFuture<Generation> running =
          one.submit(
              Golden.request(PROMPT, Golden.greedy(2)),
              token -> {
                inside.countDown();
                SessionTest.await(leave);
              });
      inside.await();
      QueueFullException full =
          assertThrows(
              QueueFullException.class,
              () -> two.generate(Golden.request(PROMPT, Golden.greedy(2))));
      assertTrue(Objects.requireNonNull(full.getMessage()).contains("1"), full.getMessage());
      Request waiting =
          Golden.request(PROMPT, Golden.greedy(2)).toBuilder().waitWhenFull(true).build();
      Generation late = two.generate(waiting.toBuilder().timeout(Duration.ofMillis(100)).build());
      assertEquals(FinishReason.TIMEOUT, late.finishReason());
      CompletableFuture<Generation> patient = two.submit(waiting);
      Thread.sleep(100);
      assertEquals(false, patient.isDone());
      leave.countDown();
      assertEquals(running.get().tokenIds(), patient.get().tokenIds());
      // A batch waits for itself.
      for (BatchResult result :
          model.generateAll(Golden.requests(List.of(PROMPT, PROMPT), Golden.greedy(2)))) {
        assertInstanceOf(BatchResult.Completed.class, result);
      }
    }
  }

  @Test
  void k1MemoryOfKeysAndValuesHasALimit() {
    long bytes = 4 << 20;
    try (CandleModel model = CandleModel.builder().kvCacheBytes(bytes).load()) {
      assertEquals(bytes, model.info().kvCacheLimit());
      try (CandleSession session = model.newSession()) {
        ModelException.InsufficientMemory tooLarge =
            assertThrows(
                ModelException.InsufficientMemory.class,
                () -> session.generate(Golden.request(prompt(1000, 100), Golden.greedy(1))));
        assertTrue(
            Objects.requireNonNull(tooLarge.getMessage()).contains(String.valueOf(bytes)),
            tooLarge.getMessage());
        assertEquals(
            8, session.generate(Golden.request(PROMPT, Golden.greedy(8))).completionTokens());
      }
      assertEquals(0L, model.info().kvCacheUsed());
    }
  }

  @Test
  @SuppressWarnings("try") // closing early is what this tests
  void k3SessionsShareASystemPrompt() {
    String system = "You are a careful assistant who knows all lighthouses. ".repeat(60);
    try (CandleModel model = CandleModel.load(CandleModel.BUILT_IN);
        CandleSession first = model.newSession()) {
      List<ChatMessage> beginning = List.of(ChatMessage.system(system));
      first.prepare(Golden.request(beginning, GenerateOptions.defaults()));
      long one = Objects.requireNonNull(model.info().kvCacheUsed());
      List<CandleSession> sessions = new ArrayList<>();
      for (int i = 0; i < 16; i++) {
        CandleSession session = model.newSession();
        sessions.add(session);
        Generation answer =
            session.generate(
                Golden.request(
                    List.of(ChatMessage.system(system), ChatMessage.user("Hello number " + i)),
                    Golden.greedy(2)));
        assertTrue(
            answer.promptTokens() - answer.cachedTokens() < 40,
            String.valueOf(answer.cachedTokens()));
      }
      long all = Objects.requireNonNull(model.info().kvCacheUsed());
      long page = one / 600 * 16;
      assertTrue(all < one + 16 * 4 * page, all + " bytes, one has " + one);
      sessions.forEach(CandleSession::close);
      first.close();
      assertEquals(0L, model.info().kvCacheUsed());
    }
  }
}
