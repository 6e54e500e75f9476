package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.ref.WeakReference;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Flow;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Ending what is under way: by close, by completing a future, by time, by an interrupt. */
@Timeout(60)
class StoppingTest {
  private static final int LONG = 8000;
  private static final String PROMPT = "Tell me a long story about a lighthouse.";

  /** Large enough that a generation is still under way when a test stops it. */
  private static CandleModel model;

  @BeforeAll
  static void load() {
    model = CandleModel.load(CandleModel.BUILT_IN);
  }

  @AfterAll
  static void close() {
    model.close();
  }

  /** On a thread of its own, which the common pool has not always. */
  private static <T> CompletableFuture<T> onThread(Supplier<T> call) {
    return CompletableFuture.supplyAsync(call, task -> Thread.ofPlatform().start(task));
  }

  private static GenerateOptions endless() {
    return Golden.greedy(LONG);
  }

  private static void assertFree(CandleSession session) {
    assertEquals(2, session.generate(Golden.request(PROMPT, Golden.greedy(2))).completionTokens());
  }

  private static long millis(Runnable action) {
    long start = System.nanoTime();
    action.run();
    return TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
  }

  /** A prompt that takes seconds. */
  private static int[] longPrompt() {
    int[] prompt = new int[6000];
    java.util.Arrays.setAll(prompt, i -> 100 + i % 1000);
    return prompt;
  }

  /** How a stream may be left. */
  enum Left {
    UNREAD,
    IN_THE_MIDDLE,
    WITHOUT_DEMAND,
    WITH_SOME_DEMAND
  }

  @ParameterizedTest
  @EnumSource
  void h1CloseEndsStreamsThatWereLeft(Left left) throws Exception {
    CandleSession session = model.newSession();
    TokenStream stream = session.stream(Golden.request(PROMPT, endless()));
    AtomicReference<Throwable> error = new AtomicReference<>();
    CountDownLatch ended = new CountDownLatch(1);
    switch (left) {
      case UNREAD -> {}
      case IN_THE_MIDDLE -> {
        for (Token token : stream) {
          assertTrue(token.id() >= 0);
          break;
        }
      }
      case WITHOUT_DEMAND -> stream.subscribe(new Slow(0, error, ended));
      case WITH_SOME_DEMAND -> stream.subscribe(new Slow(3, error, ended));
    }
    Thread.sleep(600); // the buffer is full
    long took = millis(session::close);
    assertTrue(took < 200, took + " ms");
    if (left == Left.WITHOUT_DEMAND || left == Left.WITH_SOME_DEMAND) {
      assertTrue(ended.await(5, TimeUnit.SECONDS));
      assertInstanceOf(CancellationException.class, error.get());
    }
    stream.close();
  }

  @Test
  void h1CloseEndsAPrefill() throws Exception {
    CandleSession session = model.newSession();
    CompletableFuture<Generation> future =
        onThread(() -> session.generate(Golden.request(longPrompt(), endless())));
    Thread.sleep(100);
    long took = millis(session::close);
    assertTrue(took < 200, took + " ms");
    assertEquals(FinishReason.CANCELLED, future.get(2, TimeUnit.SECONDS).finishReason());
  }

  @Test
  void h1AListenerThatHangsDoesNotHoldClose() throws Exception {
    CandleSession session = model.newSession();
    CountDownLatch inside = new CountDownLatch(1);
    CountDownLatch leave = new CountDownLatch(1);
    CompletableFuture<Generation> future =
        session.submit(
            Golden.request(PROMPT, endless()),
            token -> {
              inside.countDown();
              SessionTest.await(leave);
            });
    inside.await();
    long took = millis(session::close);
    assertTrue(took < 200, took + " ms");
    leave.countDown();
    assertEquals(FinishReason.CANCELLED, future.get(5, TimeUnit.SECONDS).finishReason());
  }

  @Test
  void h1AForgottenStreamIsCollected() throws Exception {
    try (CandleSession session = model.newSession()) {
      for (boolean subscribed : new boolean[] {false, true}) {
        WeakReference<TokenStream> stream = forget(session, subscribed);
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (stream.get() != null) {
          assertTrue(System.nanoTime() < deadline, "never collected");
          System.gc();
          Thread.sleep(20);
        }
        while (true) {
          try {
            assertFree(session);
            break;
          } catch (SessionBusyException e) {
            assertTrue(System.nanoTime() < deadline, "busy for ever");
            Thread.sleep(20);
          }
        }
      }
    }
  }

  private static WeakReference<TokenStream> forget(CandleSession session, boolean subscribed)
      throws Exception {
    TokenStream stream = session.stream(Golden.request(PROMPT, endless()));
    if (subscribed) {
      stream.subscribe(new Slow(3, new AtomicReference<>(), new CountDownLatch(1)));
    } else {
      Iterator<Token> tokens = stream.iterator();
      assertTrue(tokens.hasNext());
    }
    Thread.sleep(400);
    return new WeakReference<>(stream);
  }

  /** Keeps no subscription, asks for a few tokens and never for more. */
  private record Slow(int wanted, AtomicReference<Throwable> error, CountDownLatch ended)
      implements Flow.Subscriber<Token> {
    @Override
    public void onSubscribe(Flow.Subscription subscription) {
      if (wanted > 0) {
        subscription.request(wanted);
      }
    }

    @Override
    public void onNext(Token token) {}

    @Override
    public void onError(Throwable throwable) {
      error.set(throwable);
      ended.countDown();
    }

    @Override
    public void onComplete() {
      ended.countDown();
    }
  }

  /** How a future may be completed from outside. */
  enum Completion {
    CANCEL(future -> future.cancel(true)),
    CANCEL_SOFTLY(future -> future.cancel(false)),
    COMPLETE(future -> future.complete(null)),
    COMPLETE_EXCEPTIONALLY(future -> future.completeExceptionally(new RuntimeException("mine"))),
    COMPLETE_ASYNC(future -> future.completeAsync(() -> null)),
    OR_TIMEOUT(future -> future.orTimeout(1, TimeUnit.MILLISECONDS)),
    COMPLETE_ON_TIMEOUT(future -> future.completeOnTimeout(null, 1, TimeUnit.MILLISECONDS)),
    OBTRUDE_VALUE(future -> future.obtrudeValue(null)),
    OBTRUDE_EXCEPTION(future -> future.obtrudeException(new RuntimeException("mine"))),
    CANCEL_A_DEPENDENT(future -> future.thenApply(Generation::text).cancel(true)),
    TIME_OUT_A_DEPENDENT(future -> {
      CompletableFuture<String> dependent =
          future.thenApply(Generation::text).thenApply(String::strip);
      assertThrows(Exception.class, () -> dependent.orTimeout(1, TimeUnit.MILLISECONDS).join());
    });

    private final Consumer<CompletableFuture<Generation>> how;

    Completion(Consumer<CompletableFuture<Generation>> how) {
      this.how = how;
    }
  }

  @ParameterizedTest
  @EnumSource
  void h2CompletingAFutureStopsItsGeneration(Completion completion) throws Exception {
    try (CandleSession session = model.newSession()) {
      for (int round = 0; round < 4; round++) {
        CountDownLatch started = new CountDownLatch(1);
        List<Integer> seen = new ArrayList<>();
        CompletableFuture<Generation> future =
            session.submit(
                Golden.request(PROMPT, endless()),
                token -> {
                  synchronized (seen) {
                    seen.add(token.id());
                  }
                  started.countDown();
                });
        if (round > 0) {
          started.await();
        }
        completion.how.accept(future);
        if (completion != Completion.CANCEL_A_DEPENDENT
            && completion != Completion.TIME_OUT_A_DEPENDENT) {
          future.handle((result, thrown) -> true).join();
        }
        assertFree(session);
        synchronized (seen) {
          assertTrue(seen.size() < 400, seen.size() + " tokens for nobody");
        }
      }
    }
  }

  @Test
  void h2AFutureThatLosesARaceGoesOn() {
    try (CandleSession session = model.newSession()) {
      CompletableFuture<Generation> future =
          session.submit(Golden.request(PROMPT, Golden.greedy(50)));
      CompletableFuture<Object> other = CompletableFuture.completedFuture("first");
      assertEquals("first", future.thenApply(g -> (Object) g).applyToEither(other, x -> x).join());
      assertEquals(50, future.join().completionTokens());
    }
  }

  private static Request limited(String prompt, Duration timeout) {
    return Golden.request(prompt, endless()).toBuilder().timeout(timeout).build();
  }

  @Test
  void timeoutsEndWithWhatThereIs() {
    Duration limit = Duration.ofMillis(300);
    try (CandleSession session = model.newSession()) {
      Generation[] answer = new Generation[1];
      long took = millis(() -> answer[0] = session.generate(limited(PROMPT, limit)));
      assertEquals(FinishReason.TIMEOUT, answer[0].finishReason());
      assertTrue(took >= 290 && took < 600, took + " ms");
      assertFalse(answer[0].text().isEmpty());
      took =
          millis(() ->
              answer[0] =
                  session.generate(
                      Golden.request(longPrompt(), endless()).toBuilder().timeout(limit).build()));
      assertEquals(FinishReason.TIMEOUT, answer[0].finishReason());
      assertTrue(took < 1000, took + " ms");
      assertFree(session);
    }
    for (Duration wrong : List.of(Duration.ZERO, Duration.ofMillis(-1))) {
      assertThrows(IllegalArgumentException.class, () -> Request.builder().timeout(wrong));
    }
    Duration never = Duration.ofSeconds(Long.MAX_VALUE);
    try (CandleSession session = model.newSession()) {
      Request forEver = Golden.request(PROMPT, Golden.greedy(2)).toBuilder().timeout(never).build();
      assertEquals(2, session.generate(forEver).completionTokens());
    }
  }

  @Test
  void h3OptionsAreValues() {
    GenerateOptions one =
        GenerateOptions.builder().stop("a", "b").logitBias(Map.of(3, 1.0, 1, 2.0)).build();
    GenerateOptions same =
        GenerateOptions.builder().logitBias(Map.of(1, 2.0, 3, 1.0)).stop(List.of("a", "b")).build();
    assertEquals(one, same);
    assertEquals(one.hashCode(), same.hashCode());
    assertEquals("GenerateOptions{stop=[a, b], logitBias={1=2.0, 3=1.0}}", one.toString());
    assertNotEquals(one, one.toBuilder().topK(4).build());
    assertEquals(GenerateOptions.defaults(), GenerateOptions.builder().build());
    assertThrows(UnsupportedOperationException.class, () -> one.stop().add("c"));
    assertThrows(
        UnsupportedOperationException.class, () -> GenerateOptions.defaults().stop().add("c"));
    assertThrows(UnsupportedOperationException.class, () -> one.logitBias().put(1, 1.0));
  }

  @Test
  void h7ABorrowedTokenizerStays() {
    try (CandleModel other = CandleModel.load(CandleModel.BUILT_IN)) {
      try (CandleTokenizer tokenizer = other.tokenizer()) {
        assertEquals(1, tokenizer.count(" the"));
      }
      assertEquals(1, other.tokenizer().count(" the"));
    }
  }

  /** What an interrupt may find under way. */
  enum Under {
    PREFILL,
    DECODE,
    SCORE,
    BATCH,
    PREPARE
  }

  @ParameterizedTest
  @EnumSource
  void h13AnInterruptEndsEveryCallInOneWay(Under under) throws Exception {
    for (boolean virtual : new boolean[] {false, true}) {
      try (CandleSession session = model.newSession()) {
        AtomicReference<Throwable> thrown = new AtomicReference<>();
        AtomicReference<Boolean> status = new AtomicReference<>();
        Runnable call =
            () -> {
              try {
                switch (under) {
                  case PREFILL -> session.generate(Golden.request(longPrompt(), endless()));
                  case DECODE -> session.generate(Golden.request(PROMPT, endless()));
                  case SCORE -> session.score(TokenIds.of(longPrompt()), 0);
                  case BATCH ->
                      model.generateAll(Golden.requests(List.of(PROMPT, PROMPT), endless()));
                  case PREPARE ->
                      session.prepare(
                          Golden.request("word ".repeat(5000), GenerateOptions.defaults()));
                }
              } catch (Throwable t) {
                thrown.set(t);
              }
              status.set(Thread.currentThread().isInterrupted());
            };
        Thread thread = (virtual ? Thread.ofVirtual() : Thread.ofPlatform()).start(call);
        Thread.sleep(150);
        thread.interrupt();
        long took =
            millis(() -> {
              try {
                thread.join();
              } catch (InterruptedException e) {
                throw new AssertionError(e);
              }
            });
        assertTrue(took < 700, took + " ms");
        assertInstanceOf(CancellationException.class, thrown.get());
        assertEquals(true, status.get());
        assertFree(session);
      }
    }
  }

  @Test
  void h13AnInterruptedLoadIsAbandoned() {
    Thread.currentThread().interrupt();
    assertThrows(CancellationException.class, () -> CandleModel.load(CandleModel.BUILT_IN).close());
    assertTrue(Thread.interrupted());
  }

  @Test
  void h15AForkOfWhatWasStoppedGoesOn() throws Exception {
    try (CandleSession session = model.newSession()) {
      Generation expected = session.generate(Golden.request(PROMPT, Golden.greedy(8)));
      int[] tokens = longPrompt();
      CompletableFuture<Throwable> score =
          onThread(() -> {
            try {
              session.score(TokenIds.of(tokens), 1);
              return null;
            } catch (RuntimeException e) {
              return e;
            }
          });
      Thread.sleep(200);
      session.cancel();
      assertInstanceOf(CancellationException.class, score.get());
      try (CandleSession fork = session.fork()) {
        assertEquals(
            expected.tokenIds(),
            fork.generate(Golden.request(PROMPT, Golden.greedy(8))).tokenIds());
      }
      assertEquals(
          expected.tokenIds(),
          session.generate(Golden.request(PROMPT, Golden.greedy(8))).tokenIds());
    }
  }

  /** Ways to stop a call that was refused, or waits for another one. */
  @Test
  void h2StoppingARefusedCallLeavesTheOneUnderWayAlone() throws Exception {
    try (CandleSession session = model.newSession()) {
      CountDownLatch started = new CountDownLatch(1);
      CompletableFuture<Generation> running =
          session.submit(Golden.request(PROMPT, Golden.greedy(300)), token -> started.countDown());
      started.await();
      try (TokenStream refused = session.stream(Golden.request("x", Golden.greedy(2)))) {
        assertThrows(SessionBusyException.class, () -> refused.iterator().hasNext());
      }
      CompletableFuture<Generation> other = session.submit(Golden.request("x", Golden.greedy(2)));
      assertTrue(other.cancel(true) || other.isCompletedExceptionally());
      Thread interrupted =
          Thread.ofPlatform()
              .start(() -> {
                Thread.currentThread().interrupt();
                for (Runnable call :
                    List.<Runnable>of(
                        () -> session.generate(Golden.request("x", Golden.greedy(2))),
                        session::reset,
                        () -> session.score(TokenIds.of(new int[] {1, 2}), 0),
                        () -> session.fork().close())) {
                  try {
                    call.run();
                  } catch (RuntimeException e) {
                    // Refused, or interrupted.
                  }
                }
              });
      interrupted.join();
      assertEquals(300, running.get().completionTokens());
    }
  }

  @Test
  void h2CancellingALaterCallLeavesTheOneBeforeItAlone() throws Exception {
    try (CandleModel tiny = Golden.load("llama-plain");
        CandleSession session = tiny.newSession()) {
      GenerateOptions options = Golden.greedy(40);
      for (int i = 0; i < 400; i++) {
        // Whichever begins first: the other one is refused, or waits for the cancelled one.
        CompletableFuture<Generation> first = session.submit(Golden.raw("first", options));
        CompletableFuture<Generation> second = session.submit(Golden.raw("second", options));
        LockSupport.parkNanos(i % 20 * 10_000);
        second.cancel(true);
        try {
          assertEquals(40, first.get().completionTokens());
        } catch (ExecutionException e) {
          assertInstanceOf(SessionBusyException.class, e.getCause());
        }
      }
    }
  }

  /** What a listener does with channels of its own, or other calls, does not hide an interrupt. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void h13AnInterruptIsSeenBehindNestedCalls(boolean call) throws Exception {
    Path folder = Golden.folder("llama-plain");
    CandleModel.Builder limited = CandleModel.builder().path(folder).kvCacheBytes(100_000);
    GenerateOptions options = Golden.greedy(90);
    CountDownLatch inside = new CountDownLatch(1);
    CountDownLatch leave = new CountDownLatch(1);
    try (CandleModel tiny = limited.load();
        CandleModel other = Golden.load("llama-plain");
        CandleSession inner = other.newSession();
        CandleSession holder = tiny.newSession();
        CandleSession session = tiny.newSession();
        FileChannel channel = FileChannel.open(folder.resolve("config.json"))) {
      CompletableFuture<Generation> held =
          holder.submit(
              Golden.request("word ".repeat(20), options),
              token -> {
                inside.countDown();
                SessionTest.await(leave);
              });
      inside.await();
      AtomicReference<Throwable> thrown = new AtomicReference<>();
      Thread thread =
          Thread.ofPlatform()
              .start(() -> {
                try {
                  // It will wait for the memory that the other one holds.
                  session.generate(
                      Golden.request(new int[] {1, 2, 3}, options),
                      token -> {
                        if (call) {
                          inner.score(TokenIds.of(new int[] {1, 2, 3}), 0);
                        } else {
                          read(channel);
                        }
                      });
                } catch (Throwable t) {
                  thrown.set(t);
                }
              });
      Thread.sleep(500);
      assertTrue(thread.isAlive());
      thread.interrupt();
      thread.join(1000);
      assertFalse(thread.isAlive());
      assertInstanceOf(CancellationException.class, thrown.get());
      holder.cancel();
      leave.countDown();
      held.get();
    }
  }

  private static void read(FileChannel channel) {
    try {
      channel.read(ByteBuffer.allocate(1), 0);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void h2WhatDependsOnAFutureFindsTheSessionFree() {
    try (CandleSession session = model.newSession()) {
      for (boolean timeout : new boolean[] {false, true}) {
        CompletableFuture<Generation> future = session.submit(Golden.request(PROMPT, endless()));
        CompletableFuture<Integer> next =
            future.handle((result, thrown) ->
                session.generate(Golden.request(PROMPT, Golden.greedy(2))).completionTokens());
        long took =
            millis(() -> {
              if (timeout) {
                future.orTimeout(20, TimeUnit.MILLISECONDS);
              } else {
                future.cancel(true);
              }
              assertEquals(2, next.join());
            });
        assertTrue(took < 2000, took + " ms");
        assertTrue(future.isCompletedExceptionally());
      }
    }
  }

  @Test
  void timeoutsCountTheTimeBehindACallThatWasStopped() throws Exception {
    CountDownLatch inside = new CountDownLatch(1);
    CountDownLatch leave = new CountDownLatch(1);
    try (CandleSession session = model.newSession()) {
      CompletableFuture<Generation> held =
          session.submit(
              Golden.request(PROMPT, endless()),
              token -> {
                inside.countDown();
                SessionTest.await(leave);
              });
      inside.await();
      session.cancel();
      Request limited = limited(PROMPT, Duration.ofMillis(700));
      Generation[] late = new Generation[1];
      CompletableFuture<Long> took =
          onThread(() -> millis(() -> late[0] = session.generate(limited)));
      Thread.sleep(500);
      leave.countDown();
      assertTrue(took.get() >= 690 && took.get() < 950, took.get() + " ms");
      assertEquals(FinishReason.TIMEOUT, late[0].finishReason());
      assertFalse(late[0].text().isEmpty());
      held.get();
    }
  }

  @Test
  void h13ACallThatWaitsForAStoppedOneCanBeEnded() throws Exception {
    CandleSession session = model.newSession();
    CountDownLatch inside = new CountDownLatch(1);
    CountDownLatch leave = new CountDownLatch(1);
    CompletableFuture<Generation> held =
        session.submit(
            Golden.request(PROMPT, endless()),
            token -> {
              inside.countDown();
              SessionTest.await(leave);
            });
    inside.await();
    session.cancel();
    Request soon = limited(PROMPT, Duration.ofMillis(100));
    Generation[] late = new Generation[1];
    long took = millis(() -> late[0] = session.generate(soon));
    assertEquals(FinishReason.TIMEOUT, late[0].finishReason());
    assertTrue(took < 1000, took + " ms");
    TokenStream stream = session.stream(Golden.request(PROMPT, endless()));
    Thread.sleep(100);
    took = millis(stream::close);
    assertTrue(took < 1000, took + " ms");
    AtomicReference<Throwable> thrown = new AtomicReference<>();
    for (boolean virtual : new boolean[] {false, true}) {
      Thread thread =
          (virtual ? Thread.ofVirtual() : Thread.ofPlatform())
              .start(() -> {
                try {
                  session.generate(Golden.request(PROMPT, endless()));
                } catch (RuntimeException e) {
                  thrown.set(e);
                }
              });
      Thread.sleep(100);
      thread.interrupt();
      thread.join(1000);
      assertFalse(thread.isAlive());
      assertInstanceOf(CancellationException.class, thrown.get());
    }
    CompletableFuture<Generation> waiting = session.submit(Golden.request(PROMPT, endless()));
    Thread.sleep(100);
    session.close();
    assertEquals(FinishReason.CANCELLED, waiting.get(1, TimeUnit.SECONDS).finishReason());
    leave.countDown();
    assertEquals(FinishReason.CANCELLED, held.get().finishReason());
  }
}
