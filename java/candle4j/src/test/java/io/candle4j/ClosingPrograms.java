package io.candle4j;

import static io.candle4j.Survival.check;
import static io.candle4j.Survival.fails;

import io.candle4j.Survival.Case;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.Flow;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** Closing from odd places, subscribers and iterators that are misused, absurd settings. */
final class ClosingPrograms {
  static final List<Case> CASES =
      List.of(
          new Case("listenersCloseEachOther", ClosingPrograms::listenersCloseEachOther),
          new Case("aRingOfListeners", ClosingPrograms::ringOfListeners),
          new Case("h14ASubscriberFails", ClosingPrograms::subscriberFails),
          new Case("anIteratorIsShared", ClosingPrograms::sharedIterator),
          new Case("aStreamIsClosedByItsOwnThread", ClosingPrograms::streamClosedInside),
          new Case("streamsThatNobodyReads", ClosingPrograms::unreadStreams),
          new Case("threadCounts", ClosingPrograms::threadCounts));

  private ClosingPrograms() {}

  /** Threads that must all end, within a time. */
  private static void joinAll(List<Thread> threads) throws Exception {
    for (Thread thread : threads) {
      thread.join(TimeUnit.SECONDS.toMillis(20));
      check(!thread.isAlive(), thread + " hangs at " + List.of(thread.getStackTrace()));
    }
  }

  private static void listenersCloseEachOther() throws Exception {
    closeNext(2);
  }

  private static void ringOfListeners() throws Exception {
    closeNext(5);
  }

  /** In a listener, each of so many sessions closes the next, all at once. */
  private static void closeNext(int count) throws Exception {
    for (int round = 0; round < 20; round++) {
      try (CandleModel model = Golden.load(Survival.MODEL)) {
        List<CandleSession> sessions = new ArrayList<>();
        for (int i = 0; i < count; i++) {
          sessions.add(model.newSession());
        }
        CyclicBarrier barrier = new CyclicBarrier(count);
        AtomicInteger refused = new AtomicInteger();
        AtomicInteger wrong = new AtomicInteger();
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < count; i++) {
          CandleSession own = sessions.get(i);
          CandleSession next = sessions.get((i + 1) % count);
          Thread thread =
              new Thread(() -> {
                boolean[] first = {true};
                try {
                  own.generate(
                      Golden.request(Golden.prompt(Survival.MODEL), Golden.greedy(50)),
                      token -> {
                        if (first[0]) {
                          first[0] = false;
                          await(barrier);
                          next.close();
                        }
                      });
                } catch (IllegalStateException e) {
                  refused.incrementAndGet();
                } catch (Throwable t) {
                  wrong.incrementAndGet();
                }
              });
          threads.add(thread);
          thread.start();
        }
        joinAll(threads);
        check(wrong.get() == 0, "another exception");
        check(refused.get() >= 1, "nobody was refused");
        for (CandleSession session : sessions) {
          session.close();
          fails(() -> session.generate("x"), IllegalStateException.class);
        }
      }
    }
  }

  private static void await(CyclicBarrier barrier) {
    try {
      barrier.await(20, TimeUnit.SECONDS);
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }

  private static void subscriberFails() throws Exception {
    try (CandleModel model = Golden.load(Survival.MODEL)) {
      for (String where : List.of("onSubscribe", "onNext", "onComplete", "onError")) {
        CandleSession session = model.newSession();
        CountDownLatch called = new CountDownLatch(1);
        TokenStream stream =
            session.stream(Golden.request(Golden.prompt(Survival.MODEL), Golden.greedy(300)));
        stream.subscribe(new Failing(where, called));
        check(called.await(20, TimeUnit.SECONDS), where + " was not called");
        // The stream ends by itself, and the session is free for another call.
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (true) {
          try {
            Survival.golden(session, Survival.MODEL);
            break;
          } catch (SessionBusyException e) {
            check(System.nanoTime() < deadline, "busy after " + where);
            Thread.sleep(5);
          }
        }
        joinAll(List.of(start(session::close)));
      }
    }
  }

  private static Thread start(Runnable work) {
    Thread thread = new Thread(work);
    thread.start();
    return thread;
  }

  /** A subscriber that throws in one of its methods. */
  private record Failing(String where, CountDownLatch called) implements Flow.Subscriber<Token> {
    private void enter(String method) {
      if (method.equals(where) || (where.equals("onError") && method.equals("onNext"))) {
        if (method.equals(where)) {
          called.countDown();
        }
        throw new IllegalArgumentException(method);
      }
    }

    @Override
    public void onSubscribe(Flow.Subscription subscription) {
      enter("onSubscribe");
      subscription.request(Long.MAX_VALUE);
    }

    @Override
    public void onNext(Token token) {
      enter("onNext");
    }

    @Override
    public void onError(Throwable throwable) {
      enter("onError");
    }

    @Override
    public void onComplete() {
      enter("onComplete");
    }
  }

  private static void sharedIterator() throws Exception {
    try (CandleModel model = Golden.load(Survival.MODEL);
        CandleSession session = model.newSession()) {
      for (int round = 0; round < 30; round++) {
        int tokens = 40;
        TokenStream stream =
            session.stream(Golden.request(Golden.prompt(Survival.MODEL), Golden.greedy(tokens)));
        Iterator<Token> iterator = stream.iterator();
        AtomicInteger taken = new AtomicInteger();
        AtomicInteger wrong = new AtomicInteger();
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
          threads.add(
              start(() -> {
                try {
                  while (iterator.hasNext()) {
                    iterator.next();
                    taken.incrementAndGet();
                  }
                } catch (NoSuchElementException e) {
                  // Another thread took the last one.
                } catch (Throwable t) {
                  wrong.incrementAndGet();
                }
              }));
        }
        joinAll(threads);
        check(wrong.get() == 0 && taken.get() == tokens, taken + " of " + tokens);
        stream.close();
        Survival.golden(session, Survival.MODEL);
      }
    }
  }

  private static void streamClosedInside() throws Exception {
    try (CandleModel model = Golden.load(Survival.MODEL);
        CandleSession session = model.newSession()) {
      TokenStream stream =
          session.stream(Golden.request(Golden.prompt(Survival.MODEL), Golden.greedy(300)));
      joinAll(
          List.of(
              start(() -> {
                for (Token token : stream) {
                  check(token.id() >= 0, "id");
                  stream.close();
                }
              })));
      Survival.golden(session, Survival.MODEL);
    }
  }

  /** A session closes soon, whatever became of its streams. */
  private static void unreadStreams() throws Exception {
    try (CandleModel model = Golden.load(Survival.MODEL)) {
      for (int kind = 0; kind < 5; kind++) {
        CandleSession session = model.newSession();
        TokenStream stream =
            session.stream(Golden.request(Golden.prompt(Survival.MODEL), Golden.greedy(400)));
        CountDownLatch ended = new CountDownLatch(1);
        switch (kind) {
          case 0 -> {}
          case 1 -> check(stream.iterator().hasNext(), "no token");
          case 2 -> session.cancel();
          case 3 -> stream.subscribe(new Idle(ended, 0));
          default -> stream.subscribe(new Idle(ended, 3));
        }
        Thread.sleep(300);
        long start = System.nanoTime();
        Thread closing = start(session::close);
        joinAll(List.of(closing));
        check(System.nanoTime() - start < 500e6, "closing took long");
        if (kind > 2) {
          check(ended.await(5, TimeUnit.SECONDS), "the subscriber was told nothing");
        } else if (kind == 0) {
          joinAll(List.of(start(() -> stream.forEach(token -> {}))));
        }
        joinAll(List.of(start(stream::close)));
      }
      Survival.golden();
    }
  }

  /** Asks for some tokens and for no more. */
  private record Idle(CountDownLatch ended, int wanted) implements Flow.Subscriber<Token> {
    @Override
    public void onSubscribe(Flow.Subscription subscription) {
      if (wanted > 0) {
        subscription.request(wanted);
      }
    }

    @Override
    public void onNext(Token token) {
      check(token.id() >= 0, "id");
    }

    @Override
    public void onError(Throwable throwable) {
      ended.countDown();
    }

    @Override
    public void onComplete() {
      ended.countDown();
    }
  }

  private static void threadCounts() {
    for (int count : List.of(0, -1, Integer.MIN_VALUE, 1025, 1_000_000_000, Integer.MAX_VALUE)) {
      String message =
          String.valueOf(
              fails(() -> CandleRuntime.setThreads(count), IllegalArgumentException.class)
                  .getMessage());
      check(message.contains("1 to 1024") && message.contains(String.valueOf(count)), message);
    }
    try (CandleModel model = Golden.load(Survival.MODEL)) {
      for (int parallel : List.of(-1, 1025, Integer.MAX_VALUE)) {
        fails(
            () ->
                model.generateAll(
                    Golden.requests(List.of("a", "b"), Golden.greedy(1)), parallel, Golden.IGNORED),
            IllegalArgumentException.class);
      }
    }
  }
}
