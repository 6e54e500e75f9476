package io.candle4j.cli;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.GenerateOptions;
import io.candle4j.Request;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Some sessions on one model, each with a random prompt of its own, that answer at a time. */
final class Benchmark implements AutoCloseable {
  private final List<CandleSession> sessions = new ArrayList<>();
  private final List<int[]> prompts = new ArrayList<>();
  private final ExecutorService threads;
  private final GenerateOptions options;
  private volatile boolean stopped;

  Benchmark(CandleModel model, int parallel, int promptTokens, int generate, long seed) {
    threads = Executors.newFixedThreadPool(parallel);
    options =
        GenerateOptions.greedy().toBuilder()
            .maxTokens(generate)
            .ignoreEos(true)
            // Answers to random prompts repeat themselves as no real ones do.
            .promptLookup(false)
            .build();
    SplittableRandom random = new SplittableRandom(seed);
    int vocabulary = model.info().vocabSize();
    for (int i = 0; i < parallel; i++) {
      prompts.add(random.ints(promptTokens, 0, vocabulary).toArray());
      sessions.add(model.newSession());
    }
  }

  /** Measures several times, after once to warm up. */
  Measurement median(int repetitions) {
    List<Measurement> all = new ArrayList<>();
    for (int i = 0; i <= repetitions; i++) {
      all.add(measure());
    }
    return Measurement.median(all.subList(1, all.size()));
  }

  /** Ends what is measured with a {@link CancellationException}. */
  void stop() {
    stopped = true;
    sessions.forEach(CandleSession::cancel);
  }

  private Measurement measure() {
    // Nothing of the last time may be reused.
    sessions.forEach(CandleSession::reset);
    List<Future<long[]>> running = new ArrayList<>();
    long start = System.nanoTime();
    for (int i = 0; i < sessions.size(); i++) {
      CandleSession session = sessions.get(i);
      int[] prompt = prompts.get(i);
      running.add(threads.submit(() -> generate(session, prompt)));
    }
    List<long[]> times = new ArrayList<>();
    for (Future<long[]> future : running) {
      times.add(result(future));
    }
    if (stopped) {
      throw new CancellationException("interrupted");
    }
    return Measurement.of(prompts.getFirst().length, start, times);
  }

  /** Generates, and tells when each token came. */
  private long[] generate(CandleSession session, int[] prompt) {
    long[] times = new long[options.maxTokens().orElseThrow()];
    int[] count = {0};
    session.generate(
        Request.builder().tokens(prompt).options(options).build(),
        token -> times[count[0]++] = System.nanoTime());
    return Arrays.copyOf(times, count[0]);
  }

  private static long[] result(Future<long[]> future) {
    try {
      return future.get();
    } catch (ExecutionException e) {
      if (e.getCause() instanceof RuntimeException cause) {
        throw cause;
      }
      throw new AssertionError(e.getCause());
    } catch (InterruptedException e) {
      throw new AssertionError("nobody interrupts the main thread", e);
    }
  }

  @Override
  public void close() {
    sessions.forEach(CandleSession::close);
    threads.shutdown();
  }
}
