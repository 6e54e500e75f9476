package io.candle4j.benchmarks;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.ChatMessage;
import io.candle4j.GenerateOptions;
import io.candle4j.Generation;
import io.candle4j.Request;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;

/**
 * What sessions of one model do to each other, and what other programs do to them: the gaps between
 * tokens while prompts arrive, decoding beside busy processes, virtual threads beside platform
 * threads, and the memory of a system message that many sessions share.
 *
 * <p>Usage: {@code Together MODEL}
 */
public final class Together {
  private static final String PROMPT = "Tell me about the sea.";

  private Together() {}

  /**
   * Prints a table.
   *
   * @param args the model
   */
  public static void main(String[] args) throws Exception {
    try (CandleModel model = CandleModel.builder().path(Path.of(args[0])).load()) {
      decode(model);
      System.out.println("| what | measured |");
      System.out.println("|---|---:|");
      gaps(model);
      busy(model);
      threads(model);
      shared(model);
    }
  }

  private static GenerateOptions tokens(int count) {
    return GenerateOptions.greedy().toBuilder()
        .maxTokens(count)
        .ignoreEos(true)
        .promptLookup(false)
        .build();
  }

  private static void row(String what, String format, Object... values) {
    System.out.println("| " + what + " | " + String.format(Locale.ROOT, format, values) + " |");
  }

  private static double seconds(long since) {
    return (System.nanoTime() - since) / 1e9;
  }

  /** Seconds that three prompts of 4,000 tokens take together, which begin at different tokens. */
  private static double prompts(CandleModel model, int first) throws Exception {
    long start = System.nanoTime();
    try (ExecutorService threads = Executors.newFixedThreadPool(3)) {
      List<Future<Generation>> answers = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        int begin = first + 4000 * i;
        int[] prompt = IntStream.range(0, 4000).map(t -> begin + t % 3000).toArray();
        answers.add(
            threads.submit(() -> {
              try (CandleSession session = model.newSession()) {
                return session.generate(
                    Request.builder().tokens(prompt).options(tokens(1)).build());
              }
            }));
      }
      for (Future<Generation> answer : answers) {
        answer.get();
      }
    }
    return seconds(start);
  }

  private static void gaps(CandleModel model) throws Exception {
    double alone = prompts(model, 100);
    List<Long> times = new ArrayList<>();
    CountDownLatch started = new CountDownLatch(200);
    try (CandleSession session = model.newSession()) {
      CompletableFuture<Generation> answer =
          session.submit(
              Request.of(PROMPT, tokens(8000)),
              token -> {
                synchronized (times) {
                  times.add(System.nanoTime());
                }
                started.countDown();
              });
      started.await();
      long from = System.nanoTime();
      double with = prompts(model, 200);
      session.cancel();
      answer.get();
      List<Long> quiet;
      List<Long> beside;
      synchronized (times) {
        quiet = times.stream().filter(time -> time <= from).toList();
        beside = times.stream().filter(time -> time > from).toList();
      }
      row("gap between tokens alone, p50", "%.1f ms", gap(quiet, 0.5));
      row("gap while three prompts of 4,000 tokens arrive, p99", "%.1f ms", gap(beside, 0.99));
      row("the same, largest", "%.1f ms", gap(beside, 1));
      row("rate of the prompts, of that without the other session", "%.2f", alone / with);
    }
  }

  /** A quantile of the gaps between times, in milliseconds. */
  private static double gap(List<Long> times, double quantile) {
    long[] gaps = new long[times.size() - 1];
    for (int i = 0; i < gaps.length; i++) {
      gaps[i] = times.get(i + 1) - times.get(i);
    }
    Arrays.sort(gaps);
    return gaps[(int) ((gaps.length - 1) * quantile)] / 1e6;
  }

  /** Tokens a second, the median of three. */
  private static double decode(CandleModel model) {
    double[] rates = new double[3];
    for (int i = 0; i < rates.length; i++) {
      try (CandleSession session = model.newSession()) {
        Generation answer = session.generate(PROMPT, tokens(256));
        rates[i] = answer.timings().decodeTokensPerSecond();
      }
    }
    Arrays.sort(rates);
    return rates[1];
  }

  private static void busy(CandleModel model) throws IOException, InterruptedException {
    double quiet = decode(model);
    row("decode, nothing else running", "%.0f tokens/s", quiet);
    for (int count = 1; count <= 2; count++) {
      List<Process> others = new ArrayList<>();
      try {
        for (int i = 0; i < count; i++) {
          others.add(new ProcessBuilder("sh", "-c", "while :; do :; done").start());
        }
        TimeUnit.MILLISECONDS.sleep(500);
        row("decode beside " + count + " busy processes, of that", "%.2f", decode(model) / quiet);
      } finally {
        others.forEach(Process::destroyForcibly);
      }
      TimeUnit.MILLISECONDS.sleep(500);
    }
  }

  private static void threads(CandleModel model) throws Exception {
    double[] quotients = new double[5];
    long[] worst = new long[1];
    for (int i = 0; i < quotients.length; i++) {
      double platform = sixteen(model, Executors.newFixedThreadPool(16), new long[1]);
      double virtual = sixteen(model, Executors.newVirtualThreadPerTaskExecutor(), worst);
      quotients[i] = virtual / platform;
    }
    Arrays.sort(quotients);
    row("16 virtual threads × 64 tokens, of the time of platform threads", "%.2f", quotients[2]);
    row("longest wait of an empty virtual task beside them", "%.1f ms", worst[0] / 1e6);
  }

  private static double sixteen(CandleModel model, ExecutorService threads, long[] worst)
      throws Exception {
    long start = System.nanoTime();
    try (threads;
        ExecutorService watching = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<?>> answers = new ArrayList<>();
      for (int i = 0; i < 16; i++) {
        answers.add(
            threads.submit(() -> {
              try (CandleSession session = model.newSession()) {
                session.generate(PROMPT, tokens(64));
              }
            }));
      }
      while (!answers.stream().allMatch(Future::isDone)) {
        long submitted = System.nanoTime();
        watching.submit(() -> {}).get();
        worst[0] = Math.max(worst[0], System.nanoTime() - submitted);
        TimeUnit.MILLISECONDS.sleep(5);
      }
      for (Future<?> answer : answers) {
        answer.get();
      }
    }
    return seconds(start);
  }

  private static long used(CandleModel model) {
    return Objects.requireNonNull(model.info().kvCacheUsed(), "memory that is counted");
  }

  private static void shared(CandleModel model) {
    ChatMessage system =
        ChatMessage.system("You are a careful assistant who knows all lighthouses. ".repeat(200));
    List<CandleSession> sessions = new ArrayList<>();
    Request beginning = Request.builder().messages(system).build();
    for (int i = 0; i < 64; i++) {
      sessions.add(model.newSession());
    }
    sessions.get(0).prepare(beginning);
    long one = used(model);
    sessions.forEach(session -> session.prepare(beginning));
    row(
        "keys and values of 64 sessions with one system message of 2,000 tokens, of one",
        "%.2f",
        (double) used(model) / one);
    int computed = 0;
    for (CandleSession session : sessions) {
      Generation answer =
          session.generate(
              Request.builder()
                  .messages(system, ChatMessage.user("Hello!"))
                  .options(tokens(1))
                  .build());
      computed = Math.max(computed, answer.promptTokens() - answer.cachedTokens());
    }
    row("most tokens that one of them computes of that and a short question", "%d", computed);
    sessions.forEach(CandleSession::close);
  }
}
