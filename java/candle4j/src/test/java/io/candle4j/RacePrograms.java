package io.candle4j;

import static io.candle4j.Survival.check;

import io.candle4j.Survival.Case;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Flow;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** Closing, cancelling and interrupting while something is under way, ten thousand times. */
final class RacePrograms {
  static final List<Case> CASES =
      List.of(
          new Case(
              "tenThousandClosings",
              RacePrograms::closings,
              "-Xms64m",
              "-Xmx64m",
              "-XX:+AlwaysPreTouch"));

  private RacePrograms() {}

  private static void closings() throws Exception {
    try (CandleModel model = Golden.load(Survival.MODEL)) {
      race(model, 10_000, 1);
      long memory = settled();
      long threads = count();
      race(model, 10_000, 2);
      long growth = settled() - memory;
      check(growth < 16 << 20, growth + " bytes more");
      long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
      while (count() > threads + 4) {
        check(System.nanoTime() < deadline, count() + " threads, " + threads + " before");
        Thread.sleep(50);
      }
      Long used = model.info().kvCacheUsed();
      check(used != null && used == 0, used + " bytes of keys and values");
    }
  }

  private static long settled() throws Exception {
    for (int i = 0; i < 5; i++) {
      System.gc();
      Thread.sleep(100);
    }
    return Resident.bytes();
  }

  private static long count() throws IOException {
    try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
      return tasks.count();
    }
  }

  private static void race(CandleModel model, int rounds, long seed) throws Exception {
    Random random = new Random(seed);
    GenerateOptions options = Golden.greedy(100);
    int[] prompt = Golden.prompt(Survival.MODEL);
    for (int round = 0; round < rounds; round++) {
      CandleSession session = model.newSession();
      int kind = round % 8;
      int wait = random.nextInt(400);
      Thread thread = null;
      TokenStream stream = null;
      CompletableFuture<Generation> future = null;
      switch (kind) {
        case 0, 1 ->
            thread = start(kind == 1, () -> session.generate(Golden.request(prompt, options)));
        case 2 -> thread = start(false, () -> session.score(TokenIds.of(prompt), 1));
        case 3 -> stream = session.stream(Golden.request(prompt, options));
        case 4 -> {
          stream = session.stream(Golden.request(prompt, options));
          stream.subscribe(new Taker(random.nextInt(5)));
        }
        case 5 -> future = session.submit(Golden.request("a b c", options));
        case 6 -> {
          future = session.submit(Golden.request("a b c", options));
          future.orTimeout(1, TimeUnit.MILLISECONDS);
        }
        default -> {
          thread = start(round % 16 == 7, () -> session.generate(Golden.request(prompt, options)));
          thread.interrupt();
        }
      }
      TimeUnit.MICROSECONDS.sleep(wait);
      if (future != null && random.nextBoolean()) {
        future.cancel(true);
      }
      if (stream != null && random.nextBoolean()) {
        stream.close();
      }
      session.close();
      if (thread != null) {
        thread.join(20_000);
        check(!thread.isAlive(), "kind " + kind + " hangs");
      }
    }
  }

  private static Thread start(boolean virtual, Runnable call) {
    return (virtual ? Thread.ofVirtual() : Thread.ofPlatform())
        .start(() -> {
          try {
            call.run();
          } catch (IllegalStateException e) {
            // Closed before it began; or interrupted, which is a subclass.
          }
        });
  }

  /** Asks for some tokens. */
  private record Taker(int wanted) implements Flow.Subscriber<Token> {
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
      check(throwable instanceof CancellationException, String.valueOf(throwable));
    }

    @Override
    public void onComplete() {
      // The stream was closed, or at its end.
    }
  }
}
