package io.candle4j.server;

import io.candle4j.Generation;
import io.candle4j.Request;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Several answers to one request. */
final class Answers {
  /** As many as OpenAI's. */
  private static final int MOST = 128;

  private Answers() {}

  /** Makes one of them. */
  interface Maker {
    Generation make(Request request, int index);
  }

  /** How many a request wants. */
  static int count(Fields fields) {
    int count = fields.integer("n").orElse(1);
    if (count < 1 || count > MOST) {
      throw fields.wrong("n", "1 to " + MOST);
    }
    return count;
  }

  /** Makes all at the same time, each from a seed of its own where there is one. */
  static List<Generation> all(Request request, int count, Maker maker) {
    if (count == 1) {
      return List.of(maker.make(request, 0));
    }
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<Generation>> running = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        int index = i;
        running.add(threads.submit(() -> maker.make(seeded(request, index), index)));
      }
      return results(running, threads);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof RuntimeException failure) {
        throw failure;
      }
      throw new IllegalStateException(e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw ApiException.ending();
    }
  }

  /** All results; when one fails, the others end, since nobody would read them. */
  private static List<Generation> results(List<Future<Generation>> running, ExecutorService threads)
      throws ExecutionException, InterruptedException {
    boolean whole = false;
    try {
      List<Generation> all = new ArrayList<>();
      for (Future<Generation> one : running) {
        all.add(one.get());
      }
      whole = true;
      return all;
    } finally {
      if (!whole) {
        threads.shutdownNow();
      }
    }
  }

  private static Request seeded(Request request, int index) {
    if (request.options().seed().isEmpty()) {
      return request;
    }
    long seed = request.options().seed().getAsLong() + index;
    return request.toBuilder().options(request.options().toBuilder().seed(seed).build()).build();
  }
}
