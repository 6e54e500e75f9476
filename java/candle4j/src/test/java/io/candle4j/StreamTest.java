package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Flow;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The same tokens as iterator, stream, publisher and future; leaving early stops. */
@Timeout(30)
@SuppressWarnings("try") // leaving a stream early is what some of these test
class StreamTest {
  private static final String CASE = "qwen3-plain";
  private static CandleModel model;
  private CandleSession session;

  @BeforeAll
  static void load() {
    model = Golden.load(CASE);
  }

  @AfterAll
  static void close() {
    model.close();
  }

  @org.junit.jupiter.api.BeforeEach
  void open() {
    session = model.newSession();
  }

  @org.junit.jupiter.api.AfterEach
  void closeSession() {
    session.close();
  }

  private TokenStream stream(int maxTokens) {
    return session.stream(Golden.request(Golden.prompt(CASE), Golden.greedy(maxTokens)));
  }

  @Test
  void iterates() {
    List<Integer> ids = new ArrayList<>();
    StringBuilder text = new StringBuilder();
    try (TokenStream tokens = stream(16)) {
      for (Token token : tokens) {
        ids.add(token.id());
        text.append(token.text());
      }
      assertEquals(Golden.greedy(CASE), ids);
      assertEquals(tokens.result().text(), text.toString());
      assertThrows(IllegalStateException.class, tokens::iterator);
    }
  }

  @Test
  void streams() {
    try (TokenStream tokens = stream(16)) {
      assertEquals(Golden.greedy(CASE), tokens.stream().map(Token::id).toList());
    }
  }

  @Test
  void leavingEarlyStopsTheGeneration() {
    try (TokenStream tokens = stream(400)) {
      Iterator<Token> iterator = tokens.iterator();
      assertEquals(Golden.greedy(CASE).get(0), iterator.next().id());
      tokens.close();
      assertFalse(iterator.hasNext());
      assertEquals(FinishReason.CANCELLED, tokens.result().finishReason());
      assertTrue(tokens.result().tokenIds().size() < 400);
    }
    // The session is free for the next one.
    assertEquals(
        Golden.greedy(CASE),
        session.generate(Golden.request(Golden.prompt(CASE), Golden.greedy(16))).tokenIds());
  }

  @Test
  void aReaderThatDoesNotReadHoldsTheGenerationBack() throws Exception {
    try (TokenStream tokens = stream(400)) {
      Thread.sleep(300);
      tokens.close();
      int ahead = tokens.result().tokenIds().size();
      assertTrue(ahead < 120, ahead + " tokens were generated for nobody");
    }
  }

  @Test
  void resultAloneReadsThrough() {
    try (TokenStream tokens = stream(100)) {
      assertEquals(100, tokens.result().tokenIds().size());
    }
  }

  @Test
  void failuresComeOutOfEveryWayToRead() {
    int[] unknown = {1_000_000};
    try (TokenStream tokens = session.stream(Golden.request(unknown, Golden.greedy(4)))) {
      assertThrows(IllegalArgumentException.class, () -> tokens.iterator().hasNext());
      assertThrows(IllegalArgumentException.class, tokens::result);
    }
  }

  @Test
  void publishesWhatIsRequested() throws Exception {
    Subscriber subscriber = new Subscriber();
    try (TokenStream tokens = stream(16)) {
      tokens.subscribe(subscriber);
      subscriber.subscribed.await();
      Thread.sleep(100);
      assertEquals(0, subscriber.ids.size());
      subscriber.subscription.request(3);
      while (subscriber.size() < 3) {
        Thread.sleep(5);
      }
      Thread.sleep(100);
      assertEquals(3, subscriber.size());
      subscriber.subscription.request(Long.MAX_VALUE);
      assertTrue(subscriber.done.await(20, TimeUnit.SECONDS));
      assertEquals(Golden.greedy(CASE), subscriber.ids);
      assertEquals(null, subscriber.error);
      Subscriber second = new Subscriber();
      tokens.subscribe(second);
      assertTrue(second.done.await(20, TimeUnit.SECONDS));
      assertInstanceOf(IllegalStateException.class, second.error);
    }
  }

  @Test
  void cancellingASubscriptionStops() throws Exception {
    Subscriber subscriber = new Subscriber();
    try (TokenStream tokens = stream(400)) {
      tokens.subscribe(subscriber);
      subscriber.subscribed.await();
      subscriber.subscription.request(2);
      while (subscriber.size() < 2) {
        Thread.sleep(5);
      }
      subscriber.subscription.cancel();
      assertEquals(FinishReason.CANCELLED, tokens.result().finishReason());
    }
  }

  private static final class Subscriber implements Flow.Subscriber<Token> {
    final CountDownLatch subscribed = new CountDownLatch(1);
    final CountDownLatch done = new CountDownLatch(1);
    final List<Integer> ids = new ArrayList<>();
    volatile Flow.Subscription subscription;
    volatile Throwable error;

    int size() {
      synchronized (ids) {
        return ids.size();
      }
    }

    @Override
    public void onSubscribe(Flow.Subscription subscription) {
      this.subscription = subscription;
      subscribed.countDown();
    }

    @Override
    public void onNext(Token token) {
      synchronized (ids) {
        ids.add(token.id());
      }
    }

    @Override
    public void onError(Throwable throwable) {
      error = throwable;
      done.countDown();
    }

    @Override
    public void onComplete() {
      done.countDown();
    }
  }

  @Test
  void futures() throws Exception {
    String prompt = "Who keeps the lantern?";
    Generation here = session.generate(Golden.request(prompt, Golden.greedy(16)));
    CompletableFuture<Generation> there = session.submit(Golden.request(prompt, Golden.greedy(16)));
    assertEquals(here.tokenIds(), there.get().tokenIds());

    CompletableFuture<Generation> failing =
        session.submit(
            Golden.request("half \ud83d".substring(0, 5) + "x".repeat(5000), Golden.greedy(1)));
    ExecutionException failure = assertThrows(ExecutionException.class, failing::get);
    assertInstanceOf(ContextFullException.class, failure.getCause());
  }

  @Test
  void cancellingAFutureStopsTheGeneration() throws Exception {
    CountDownLatch started = new CountDownLatch(1);
    CountDownLatch cancelled = new CountDownLatch(1);
    List<Integer> seen = new ArrayList<>();
    CompletableFuture<Generation> future =
        session.submit(
            Golden.request("Who keeps the lantern?", Golden.greedy(400)),
            token -> {
              seen.add(token.id());
              started.countDown();
              try {
                // At the first token, so that the number of those behind it depends on nothing
                // else.
                cancelled.await();
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            });
    started.await();
    assertTrue(future.cancel(true));
    cancelled.countDown();
    assertThrows(CancellationException.class, future::join);
    session.close(); // waits for the thread to leave
    assertTrue(seen.size() < 10, seen.size() + " tokens");
  }

  @Test
  void virtualThreadsCanGenerate() throws Exception {
    List<Integer> ids = new ArrayList<>();
    Thread thread =
        Thread.ofVirtual()
            .start(() ->
                ids.addAll(
                    session
                        .generate(Golden.request(Golden.prompt(CASE), Golden.greedy(16)))
                        .tokenIds()));
    thread.join();
    assertEquals(Golden.greedy(CASE), ids);
  }
}
