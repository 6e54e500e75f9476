package io.candle4j;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** The main class of a child JVM with one carrier thread. */
public final class VirtualThreadsProbe {
  private static final String PROMPT = "Tell me about the sea.";

  /**
   * Milliseconds, for a machine that is busy with something else; a held carrier costs hundreds.
   */
  private static final long ROOM = 150;

  private VirtualThreadsProbe() {}

  /**
   * Runs every call that blocks on virtual threads, and watches how long an empty one waits.
   *
   * @param args none
   */
  public static void main(String[] args) throws Exception {
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      CandleModel model =
          threads.submit(() -> CandleModel.load(CandleModel.BUILT_IN)).get(60, TimeUnit.SECONDS);
      List<Integer> alone;
      try (CandleSession session = model.newSession()) {
        alone = session.generate(Golden.request(PROMPT, Golden.greedy(16))).tokenIds();
      }
      // Whatever is compiled and linked at the first time.
      emptyTask(threads);

      ClassLoader own = new ClassLoader() {};
      threads
          .submit(() -> {
            Thread.currentThread().setContextClassLoader(own);
            return inSession(
                model,
                session ->
                    session.generate(
                        Golden.request(PROMPT, Golden.greedy(2)),
                        token ->
                            Survival.check(
                                Thread.currentThread().getContextClassLoader() == own,
                                "another class loader")));
          })
          .get();

      List<Future<List<Integer>>> answers = together(threads, model, 256);
      long start = System.nanoTime();
      long worst = watch(threads, answers);
      long took = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
      for (Future<List<Integer>> answer : answers) {
        Survival.check(alone.equals(answer.get()), "another answer");
      }
      // They begin and end at once, each on the one carrier, behind which the empty one waits. Held
      // while it generates, a carrier would be gone for most of the time.
      report("256 generations", worst, Math.max(ROOM, took / 20));

      int[] prompt = new int[4000];
      java.util.Arrays.setAll(prompt, i -> 100 + i % 1000);
      List<Callable<Object>> calls =
          List.of(
              () -> inSession(model, session -> session.score(TokenIds.of(prompt), 1)),
              () ->
                  inSession(
                      model,
                      session -> {
                        session.prepare(
                            Golden.request("word ".repeat(3000), GenerateOptions.defaults()));
                        return session.fork().generate(Golden.request(PROMPT, Golden.greedy(16)));
                      }),
              () ->
                  model.generateAll(
                      Golden.requests(java.util.Collections.nCopies(8, PROMPT), Golden.greedy(32))),
              () -> model.tokenizer().encode("Some words and more. ".repeat(50_000)),
              () -> {
                CandleModel other = CandleModel.load(CandleModel.BUILT_IN);
                other.close();
                return other;
              });
      for (Callable<Object> call : calls) {
        Future<Object> future = threads.submit(call);
        report("call", watch(threads, List.of(future)), ROOM);
        future.get();
      }
      model.close();
    }
    System.out.println("done");
  }

  private interface Use {
    Object apply(CandleSession session) throws Exception;
  }

  private static Object inSession(CandleModel model, Use use) throws Exception {
    try (CandleSession session = model.newSession()) {
      return use.apply(session);
    }
  }

  private static List<Future<List<Integer>>> together(
      ExecutorService threads, CandleModel model, int count) {
    List<Future<List<Integer>>> answers = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      answers.add(
          threads.submit(() -> {
            try (CandleSession session = model.newSession()) {
              return session.generate(Golden.request(PROMPT, Golden.greedy(16))).tokenIds();
            }
          }));
    }
    return answers;
  }

  /** The longest that an empty task waited while others ran, in milliseconds. */
  private static <T> long watch(ExecutorService threads, List<Future<T>> running) throws Exception {
    long worst = 0;
    while (running.stream().anyMatch(future -> !future.isDone())) {
      worst = Math.max(worst, emptyTask(threads));
      Thread.sleep(5);
    }
    return worst;
  }

  private static long emptyTask(ExecutorService threads) throws Exception {
    long start = System.nanoTime();
    threads.submit(() -> {}).get();
    return TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
  }

  private static void report(String what, long worst, long most) {
    Survival.check(worst < most, what + ": an empty virtual thread waited for " + worst + " ms");
    System.err.println(what + ": " + worst + " ms");
  }
}
