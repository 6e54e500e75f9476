package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Generating: options, listeners that stop or throw, cancelling, limits. */
class SessionTest {
  private static final String CASE = "llama-plain";
  private static CandleModel model;

  @BeforeAll
  static void load() {
    model = Golden.load(CASE);
  }

  @AfterAll
  static void close() {
    model.close();
  }

  @Test
  void listenerGetsEveryTokenAndTheirTextsJoinToTheWhole() {
    try (CandleSession session = model.newSession()) {
      List<Integer> ids = new ArrayList<>();
      StringBuilder text = new StringBuilder();
      Thread caller = Thread.currentThread();
      Generation generation =
          session.generate(
              Golden.request(Golden.prompt(CASE), Golden.greedy(16)),
              token -> {
                assertSame(caller, Thread.currentThread());
                ids.add(token.id());
                text.append(token.text());
              });
      assertEquals(Golden.greedy(CASE), ids);
      assertEquals(generation.tokenIds(), ids);
      assertEquals(generation.text(), text.toString());
      assertEquals(generation.text(), generation.toString());
      assertEquals(16, generation.completionTokens());
      assertTrue(generation.timings().prefill().toNanos() > 0);
      assertTrue(generation.timings().decodeTokensPerSecond() > 0);
    }
  }

  @Test
  void theSameSeedGivesTheSameAnswer() {
    try (CandleSession session = model.newSession()) {
      GenerateOptions options =
          GenerateOptions.builder().temperature(1).seed(-1).maxTokens(24).ignoreEos(true).build();
      Generation first = session.generate(Golden.request("Tell me", options));
      assertEquals(-1, first.seed());
      assertEquals(first.text(), session.generate(Golden.request("Tell me", options)).text());
      GenerateOptions other = options.toBuilder().seed(2).build();
      assertNotEquals(
          first.tokenIds(), session.generate(Golden.request("Tell me", other)).tokenIds());
    }
  }

  @Test
  void samplingOptionsReachTheModel() {
    try (CandleSession session = model.newSession()) {
      List<Integer> greedy = Golden.greedy(CASE);
      // With one candidate left, sampling is greedy, whichever option leaves it.
      for (GenerateOptions.Builder one :
          List.of(
              GenerateOptions.builder().temperature(2).topK(1),
              GenerateOptions.builder().temperature(2).topP(1e-9),
              GenerateOptions.builder().temperature(2).minP(1),
              GenerateOptions.builder().temperature(2).topNSigma(1e-9))) {
        GenerateOptions options = one.maxTokens(16).ignoreEos(true).build();
        assertEquals(
            greedy, session.generate(Golden.request(Golden.prompt(CASE), options)).tokenIds());
      }
      GenerateOptions penalised =
          Golden.greedy(16).toBuilder().repeatPenalty(50).repeatWindow(64).build();
      List<Integer> tokens =
          session.generate(Golden.request(Golden.prompt(CASE), penalised)).tokenIds();
      assertEquals(16, tokens.stream().distinct().count());
    }
  }

  @Test
  void penaltiesReachTheModel() {
    try (CandleSession session = model.newSession()) {
      int[] prompt = Golden.prompt(CASE);
      GenerateOptions plain = Golden.greedy(64);
      for (GenerateOptions.Builder one :
          List.of(
              plain.toBuilder().presencePenalty(1e6),
              plain.toBuilder().frequencyPenalty(1e6),
              plain.toBuilder().noRepeatNgramSize(1))) {
        List<Integer> tokens = session.generate(Golden.request(prompt, one.build())).tokenIds();
        assertEquals(tokens.size(), tokens.stream().distinct().count(), tokens.toString());
      }
      GenerateOptions dry =
          plain.toBuilder()
              .dryMultiplier(1e6)
              .dryBase(1)
              .dryAllowedLength(1)
              .dryBreakers(List.of())
              .build();
      List<Integer> tokens = session.generate(Golden.request(prompt, dry)).tokenIds();
      long pairs =
          IntStream.range(1, tokens.size())
              .mapToObj(i -> List.of(tokens.get(i - 1), tokens.get(i)))
              .distinct()
              .count();
      assertEquals(tokens.size() - 1, pairs, tokens.toString());
      GenerateOptions ends = GenerateOptions.greedy().toBuilder().maxTokens(9).minTokens(9).build();
      assertEquals(9, session.generate(Golden.request(prompt, ends)).completionTokens());
      assertEquals(List.of(), session.generate(Golden.request(prompt, plain)).warnings());
    }
  }

  @Test
  void stopTextsEndAndAreCut() {
    try (CandleSession session = model.newSession()) {
      Generation whole = session.generate(Golden.request(Golden.prompt(CASE), Golden.greedy(16)));
      String text = whole.text();
      String stop = text.substring(text.length() / 2, text.length() / 2 + 1);
      GenerateOptions options = Golden.greedy(16).toBuilder().stop("never", stop).build();
      Generation cut = session.generate(Golden.request(Golden.prompt(CASE), options));
      assertEquals(FinishReason.STOP_STRING, cut.finishReason());
      assertEquals(text.substring(0, text.indexOf(stop)), cut.text());
    }
  }

  @Test
  void whatAListenerThrowsComesOutAsItIs() {
    try (CandleSession session = model.newSession()) {
      for (Throwable thrown :
          List.of(
              new IllegalStateException("mine"), new AssertionError("mine"), new IOException())) {
        AtomicInteger calls = new AtomicInteger();
        Throwable caught =
            assertThrows(
                Throwable.class,
                () ->
                    session.generate(
                        Golden.request(Golden.prompt(CASE), Golden.greedy(16)),
                        token -> {
                          if (calls.incrementAndGet() == 3) {
                            sneak(thrown);
                          }
                        }));
        assertSame(thrown, caught);
        assertEquals(3, calls.get());
      }
      StackOverflowError overflow =
          assertThrows(
              StackOverflowError.class,
              () ->
                  session.generate(
                      Golden.request(Golden.prompt(CASE), Golden.greedy(16)),
                      token -> recurse(token.id())));
      assertTrue(overflow.getStackTrace().length > 0);
      assertGolden(session);
    }
  }

  private static int recurse(int n) {
    return recurse(n + 1) + 1;
  }

  @SuppressWarnings("unchecked")
  private static <T extends Throwable> void sneak(Throwable t) throws T {
    throw (T) t;
  }

  @Test
  void cancelFromAListenerKeepsWhatThereIs() {
    try (CandleSession session = model.newSession()) {
      AtomicInteger calls = new AtomicInteger();
      Generation generation =
          session.generate(
              Golden.request(Golden.prompt(CASE), Golden.greedy(16)),
              token -> {
                if (calls.incrementAndGet() == 5) {
                  session.cancel();
                }
              });
      assertEquals(FinishReason.CANCELLED, generation.finishReason());
      assertEquals(Golden.greedy(CASE).subList(0, 5), generation.tokenIds());
      session.cancel(); // nothing is under way, and the next call is not hit
      assertGolden(session);
    }
  }

  @Test
  void interruptingTheThreadStops() {
    try (CandleSession session = model.newSession()) {
      assertThrows(
          CancellationException.class,
          () ->
              session.generate(
                  Golden.request(Golden.prompt(CASE), Golden.greedy(16)),
                  token -> Thread.currentThread().interrupt()));
      assertTrue(Thread.interrupted());
      assertGolden(session);
    }
  }

  @Test
  void aListenerCannotUseOrCloseItsOwnSession() {
    try (CandleSession session = model.newSession()) {
      AtomicInteger calls = new AtomicInteger();
      session.generate(
          Golden.request(Golden.prompt(CASE), Golden.greedy(4)),
          token -> {
            calls.incrementAndGet();
            assertThrows(
                SessionBusyException.class,
                () -> session.generate(Golden.request(Golden.prompt(CASE), Golden.greedy(1))));
            assertThrows(SessionBusyException.class, session::reset);
            assertThrows(IllegalStateException.class, session::close);
          });
      assertEquals(4, calls.get());
      assertGolden(session);
    }
  }

  @Test
  void aSecondThreadIsToldThatTheSessionIsBusy() throws Exception {
    try (CandleSession session = model.newSession()) {
      CountDownLatch inside = new CountDownLatch(1);
      CountDownLatch leave = new CountDownLatch(1);
      Thread first =
          Thread.ofPlatform()
              .start(() ->
                  session.generate(
                      Golden.request(Golden.prompt(CASE), Golden.greedy(2)),
                      token -> {
                        inside.countDown();
                        await(leave);
                      }));
      inside.await();
      assertThrows(
          SessionBusyException.class,
          () -> session.generate(Golden.request(Golden.prompt(CASE), Golden.greedy(1))));
      leave.countDown();
      first.join();
      assertGolden(session);
    }
  }

  static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void f6BadArgumentsAreRefusedInJava() {
    GenerateOptions.Builder options = GenerateOptions.builder();
    assertThrows(IllegalArgumentException.class, () -> options.temperature(Double.NaN));
    assertThrows(IllegalArgumentException.class, () -> options.temperature(-1));
    assertThrows(IllegalArgumentException.class, () -> options.topP(-1));
    assertThrows(IllegalArgumentException.class, () -> options.topP(0));
    assertThrows(IllegalArgumentException.class, () -> options.topK(-1));
    assertThrows(IllegalArgumentException.class, () -> options.minP(1.1));
    assertThrows(IllegalArgumentException.class, () -> options.maxTokens(0));
    assertThrows(IllegalArgumentException.class, () -> options.repeatPenalty(0));
    assertThrows(IllegalArgumentException.class, () -> options.repeatPenalty(1e-50));
    assertThrows(IllegalArgumentException.class, () -> options.typicalP(0));
    assertThrows(IllegalArgumentException.class, () -> options.topNSigma(-1));
    assertThrows(IllegalArgumentException.class, () -> options.presencePenalty(Double.NaN));
    assertThrows(IllegalArgumentException.class, () -> options.frequencyPenalty(1e7));
    assertThrows(IllegalArgumentException.class, () -> options.dryMultiplier(-1));
    assertThrows(IllegalArgumentException.class, () -> options.dryBase(0.5));
    assertThrows(IllegalArgumentException.class, () -> options.dryAllowedLength(0));
    assertThrows(IllegalArgumentException.class, () -> options.dryBreakers(List.of("")));
    assertThrows(IllegalArgumentException.class, () -> options.noRepeatNgramSize(-1));
    assertThrows(IllegalArgumentException.class, () -> options.minTokens(-1));
    assertThrows(IllegalArgumentException.class, () -> options.stop(""));
    try (CandleSession session = model.newSession()) {
      assertThrows(IllegalArgumentException.class, () -> session.generate(""));
      int[] none = {};
      int[] negative = {1, -1};
      int[] unknown = {1, 1_000_000};
      for (int[] tokens : List.of(none, negative, unknown)) {
        assertThrows(
            IllegalArgumentException.class,
            () -> session.generate(Golden.request(tokens, Golden.greedy(1))));
        assertThrows(IllegalArgumentException.class, () -> session.score(TokenIds.of(tokens), 1));
      }
      ContextFullException full =
          assertThrows(
              ContextFullException.class,
              () -> session.generate(Golden.request(new int[600], Golden.greedy(1))));
      assertEquals(600, full.needed());
      assertEquals(512, full.limit());
      GenerateOptions tiny = GenerateOptions.builder().temperature(1e-320).build();
      assertThrows(
          IllegalArgumentException.class, () -> session.generate(Golden.request("a", tiny)));
      assertThrows(IllegalArgumentException.class, () -> session.generate("half \ud83d"));
      assertGolden(session);
    }
  }

  @Test
  void preparedPromptsAndForksAreNotComputedAgain() {
    int[] prompt = Golden.ids(Golden.expected(CASE).get("sequences").get(2).get("prompt"));
    List<Integer> greedy =
        Golden.list(Golden.ids(Golden.expected(CASE).get("sequences").get(2).get("greedy")));
    try (CandleModel model = Golden.load(CASE);
        CandleSession session = model.newSession()) {
      session.generate(Golden.request(prompt, Golden.greedy(1)));
      try (CandleSession fork = session.fork()) {
        session.reset();
        Generation generation = fork.generate(Golden.request(prompt, Golden.greedy(16)));
        assertEquals(greedy, generation.tokenIds());
        assertEquals(prompt.length - 1, generation.cachedTokens());
      }
      session.prepare(Golden.raw("Once upon a time", Golden.greedy(4)));
      Generation generation =
          session.generate(Golden.raw("Once upon a time there was", Golden.greedy(4)));
      assertTrue(generation.cachedTokens() >= 4, generation.cachedTokens() + " tokens");
      try (CandleSession fresh = model.newSession()) {
        assertEquals(
            fresh.generate(Golden.raw("Once upon a time there was", Golden.greedy(4))).tokenIds(),
            generation.tokenIds());
      }

      List<ChatMessage> instructions = List.of(ChatMessage.system("Answer briefly."));
      session.prepare(Golden.request(instructions, GenerateOptions.defaults()));
      List<ChatMessage> hello = List.of(instructions.getFirst(), ChatMessage.user("Hello"));
      assertTrue(session.generate(Golden.request(hello, Golden.greedy(4))).cachedTokens() > 0);
    }
  }

  @Test
  void tokensComeWithTheirProbabilitiesAndCanBeBiased() {
    int[] prompt = Golden.prompt(CASE);
    try (CandleModel model = Golden.load(CASE);
        CandleSession session = model.newSession()) {
      GenerateOptions options = Golden.greedy(4).toBuilder().logprobs(2).build();
      List<TokenLogprob> streamed = new ArrayList<>();
      Generation generation =
          session.generate(
              Golden.request(prompt, options),
              token -> streamed.add(token.logprob().orElseThrow()));
      assertEquals(generation.logprobs(), streamed);
      List<TokenLogprob> best = session.score(TokenIds.of(prompt), 2).top();
      TokenLogprob first = generation.logprobs().getFirst();
      assertEquals(generation.tokenIds().getFirst(), first.id());
      assertEquals(best.getFirst().id(), first.id());
      assertEquals(best.getFirst().logprob(), first.logprob(), 1e-4);
      assertEquals(2, first.top().size());
      assertEquals(best.get(1).id(), first.top().get(1).id());
      assertEquals(4, generation.logprobs().size());

      GenerateOptions biased =
          Golden.greedy(4).toBuilder().logitBias(Map.of(first.id(), -1e6, 9, 1e6)).build();
      assertEquals(
          List.of(9, 9, 9, 9), session.generate(Golden.request(prompt, biased)).tokenIds());
      assertEquals(List.of(), session.generate(Golden.request(prompt, biased)).logprobs());
      GenerateOptions outside = biased.toBuilder().logitBias(Map.of(1 << 20, 1.0)).build();
      assertThrows(
          IllegalArgumentException.class, () -> session.generate(Golden.request(prompt, outside)));
    }
    assertThrows(
        IllegalArgumentException.class,
        () -> GenerateOptions.builder().logitBias(Map.of(1, Double.NaN)));
    assertThrows(IllegalArgumentException.class, () -> GenerateOptions.builder().logprobs(-1));
  }

  @Test
  void theEndOfTheContextIsTold() {
    try (CandleModel small =
            CandleModel.builder().path(Golden.folder(CASE)).contextLength(10).load();
        CandleSession session = small.newSession()) {
      Generation generation =
          session.generate(Golden.request(Golden.prompt(CASE), Golden.greedy(16)));
      assertEquals(FinishReason.CONTEXT_FULL, generation.finishReason());
      assertEquals(Golden.greedy(CASE).subList(0, 5), generation.tokenIds());
    }
  }

  @Test
  void promptsShareWhatTheyHaveInCommon() {
    try (CandleSession session = model.newSession()) {
      int[] prompt = Golden.prompt(CASE);
      Generation first = session.generate(Golden.request(prompt, Golden.greedy(4)));
      int[] longer = new int[prompt.length + 4];
      System.arraycopy(prompt, 0, longer, 0, prompt.length);
      for (int i = 0; i < 4; i++) {
        longer[prompt.length + i] = first.tokenIds().get(i);
      }
      Generation second = session.generate(Golden.request(longer, Golden.greedy(12)));
      assertEquals(longer.length - 1, second.cachedTokens());
      assertEquals(Golden.greedy(CASE).subList(4, 16), second.tokenIds());
      session.reset();
      assertEquals(0, session.generate(Golden.request(longer, Golden.greedy(1))).cachedTokens());
    }
  }

  /** The session still computes what it should. */
  static void assertGolden(CandleSession session) {
    Generation generation =
        session.generate(Golden.request(Golden.prompt(CASE), Golden.greedy(16)));
    assertEquals(Golden.greedy(CASE), generation.tokenIds());
    assertFalse(generation.finishReason() == FinishReason.CANCELLED);
  }
}
