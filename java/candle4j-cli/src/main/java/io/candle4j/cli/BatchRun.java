package io.candle4j.cli;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.ContextFullException;
import io.candle4j.FinishReason;
import io.candle4j.GenerateOptions;
import io.candle4j.Generation;
import io.candle4j.Request;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.LongNode;

/**
 * The work of a batch: one thread reads prompts, some answer them, each with a session of its own.
 *
 * <p>At most a window of prompts is between input and output, so memory stays bounded when one of
 * them takes long.
 */
final class BatchRun {
  private static final int WINDOW = 1024;
  private static final long AGAIN_MILLIS = 50;
  private static final BatchItem END = new BatchItem(-1, LongNode.valueOf(-1), null, null);

  private final CandleModel model;
  private final BiFunction<String, GenerateOptions, Request> requests;
  private final GenerateOptions options;
  private final int workers;
  private final BatchOutput output;
  private final BatchProgress progress;

  private final Semaphore window = new Semaphore(WINDOW);
  private final BlockingQueue<BatchItem> queue;
  private final List<Thread> threads = new ArrayList<>();
  private final CountDownLatch ended;
  private final List<CandleSession> sessions = new ArrayList<>();
  private boolean stopped;
  private @Nullable Throwable failure;

  /** How many prompts were answered, and how many could not be. */
  record Outcome(long answered, long failed) {}

  BatchRun(
      CandleModel model,
      BiFunction<String, GenerateOptions, Request> requests,
      GenerateOptions options,
      int workers,
      BatchOutput output,
      BatchProgress progress) {
    this.model = model;
    this.requests = requests;
    this.options = options;
    this.workers = workers;
    this.output = output;
    this.progress = progress;
    this.queue = new ArrayBlockingQueue<>(2 * workers);
    this.ended = new CountDownLatch(workers);
  }

  /** Answers all prompts, or as many as there is time for until {@link #stop}. */
  Outcome run(BatchInput input) {
    synchronized (this) {
      threads.add(thread("candle-batch-input", () -> read(input)));
      for (int i = 1; i <= workers; i++) {
        threads.add(thread("candle-batch-" + i, this::work));
      }
      threads.forEach(Thread::start);
    }
    try (progress) {
      while (!ended.await(AGAIN_MILLIS, TimeUnit.MILLISECONDS)) {
        if (isStopped()) {
          // An answer that was about to begin missed it the first time.
          stop();
        }
      }
      output.putRest();
    } catch (InterruptedException e) {
      throw new AssertionError("nobody interrupts the main thread", e);
    }
    synchronized (this) {
      if (failure instanceof RuntimeException e) {
        throw e;
      }
      if (failure instanceof Error e) {
        throw e;
      }
    }
    return new Outcome(progress.answered(), progress.failures());
  }

  /** Ends answers under way, and begins no more. */
  synchronized void stop() {
    stopped = true;
    // Interrupts those that wait; those that generate are cancelled.
    threads.forEach(Thread::interrupt);
    sessions.forEach(CandleSession::cancel);
  }

  private static Thread thread(String name, Runnable body) {
    // A daemon, because nothing ends a read of standard input.
    return Thread.ofPlatform().daemon().name(name).unstarted(body);
  }

  private void read(BatchInput input) {
    try {
      for (BatchItem item; !isStopped() && (item = input.next()) != null; ) {
        window.acquire();
        if (item.error() != null) {
          fail(item, item.error());
        } else {
          queue.put(item);
        }
      }
      for (int i = 0; i < workers; i++) {
        queue.put(END);
      }
    } catch (InterruptedException e) {
      // Stopped.
    } catch (RuntimeException | Error e) {
      giveUp(e);
    }
  }

  private void work() {
    CandleSession session = null;
    try {
      session = newSession();
      for (BatchItem item; !isStopped() && (item = queue.take()) != END; ) {
        Generation answer;
        try {
          answer = session.generate(requests.apply(item.answerable(), options));
        } catch (CancellationException e) {
          // Interrupted by stop.
          continue;
        } catch (RuntimeException e) {
          if (!(e instanceof IllegalArgumentException || e instanceof ContextFullException)) {
            // The session may have suffered.
            close(session);
            session = newSession();
          }
          fail(item, Failures.message(e));
          continue;
        }
        if (answer.finishReason() != FinishReason.CANCELLED) {
          put(item, Json.line(item.answered(answer.text(), Json.word(answer.finishReason()))));
          progress.answered(answer.completionTokens());
        }
      }
    } catch (InterruptedException e) {
      // Stopped.
    } catch (RuntimeException | Error e) {
      giveUp(e);
    } finally {
      close(session);
      ended.countDown();
    }
  }

  private void fail(BatchItem item, String message) {
    put(item, Json.line(item.failed(message)));
    progress.failed();
  }

  private void put(BatchItem item, String line) {
    window.release(output.put(item.index(), line));
  }

  /** Stops everything because of something that concerns all prompts. */
  private synchronized void giveUp(Throwable t) {
    if (failure == null) {
      failure = t;
    }
    stop();
  }

  private synchronized boolean isStopped() {
    return stopped;
  }

  private synchronized CandleSession newSession() {
    CandleSession session = model.newSession();
    sessions.add(session);
    return session;
  }

  private void close(@Nullable CandleSession session) {
    if (session == null) {
      return;
    }
    synchronized (this) {
      sessions.remove(session);
    }
    session.close();
  }
}
