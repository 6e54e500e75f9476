package io.candle4j;

import static io.candle4j.Survival.check;
import static io.candle4j.Survival.golden;
import static io.candle4j.Survival.onShortThread;

import io.candle4j.Survival.Case;
import io.candle4j.hub.CandleHub;
import io.candle4j.hub.HubException;
import java.io.IOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** Threads that load the library or use it, and end; class loaders that come and go. */
final class ThreadPrograms {
  static final List<Case> CASES =
      List.of(
          new Case("theLoadingThreadEnds", ThreadPrograms::theLoadingThreadEnds),
          new Case("theThreadThatAskedForTheRuntimeEnds", ThreadPrograms::runtimeThreadEnds),
          new Case("aPoolWhoseIdleThreadsEnd", ThreadPrograms::idleThreadsEnd),
          new Case("loadOnAShortThreadThenAsync", ThreadPrograms::shortThreadThenAsync),
          new Case("aHandleIsFreedOnAnotherThread", ThreadPrograms::freedElsewhere),
          new Case(
              "virtualThreads",
              ThreadPrograms::virtualThreads,
              "-Djdk.virtualThreadScheduler.parallelism=2"),
          new Case("h11ClassLoadersOneUnloaded", ThreadPrograms::classLoaders),
          // A Java heap that has its size from the start, so that only native memory can grow.
          new Case(
              "tenThousandThreads",
              ThreadPrograms::tenThousandThreads,
              "-Xms64m",
              "-Xmx64m",
              "-XX:+AlwaysPreTouch"));

  private ThreadPrograms() {}

  private static void theLoadingThreadEnds() throws Exception {
    for (int i = 0; i < 50; i++) {
      onShortThread(() -> Golden.load(Survival.MODEL).close());
    }
  }

  private static void runtimeThreadEnds() throws Exception {
    onShortThread(CandleRuntime::info);
    for (int i = 0; i < 20; i++) {
      onShortThread(Survival::golden);
    }
  }

  private static void idleThreadsEnd() throws Exception {
    try (ThreadPoolExecutor pool =
        new ThreadPoolExecutor(4, 4, 1, TimeUnit.MILLISECONDS, new LinkedBlockingQueue<>())) {
      pool.allowCoreThreadTimeOut(true);
      CandleModel model = pool.submit(() -> Golden.load(Survival.MODEL)).get();
      for (int round = 0; round < 50; round++) {
        List<Future<?>> calls = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
          calls.add(
              pool.submit(() -> {
                try (CandleSession session = model.newSession()) {
                  golden(session, Survival.MODEL);
                }
              }));
        }
        for (Future<?> call : calls) {
          call.get();
        }
        Thread.sleep(5);
      }
      pool.submit(model::close).get();
    }
  }

  private static void shortThreadThenAsync() throws Exception {
    CandleModel[] model = new CandleModel[1];
    onShortThread(() -> model[0] = Golden.load(Survival.MODEL));
    try (CandleSession session = model[0].newSession()) {
      for (int i = 0; i < 50; i++) {
        session.submit(Golden.request("abc", Golden.greedy(4))).get();
      }
    }
    model[0].close();
  }

  private static void freedElsewhere() throws Exception {
    for (int i = 0; i < 30; i++) {
      CandleModel[] model = new CandleModel[1];
      CandleSession[] session = new CandleSession[1];
      onShortThread(() -> model[0] = Golden.load(Survival.MODEL));
      onShortThread(() -> session[0] = model[0].newSession());
      onShortThread(() -> model[0].close());
      onShortThread(() -> golden(session[0], Survival.MODEL));
      onShortThread(() -> session[0].close());
    }
  }

  private static void virtualThreads() throws Exception {
    CandleModel[] model = new CandleModel[1];
    Thread.ofVirtual().start(() -> model[0] = Golden.load(Survival.MODEL)).join();
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<?>> calls = new ArrayList<>();
      for (int i = 0; i < 200; i++) {
        calls.add(
            threads.submit(() -> {
              try (CandleSession session = model[0].newSession()) {
                golden(session, Survival.MODEL);
              }
            }));
      }
      for (Future<?> call : calls) {
        call.get();
      }
    }
    model[0].close();
  }

  private static void classLoaders() throws Exception {
    URLClassLoader first = classLoader();
    URLClassLoader second = classLoader();
    use(first);
    use(second);
    golden();
    java.lang.ref.WeakReference<ClassLoader> unloaded = new java.lang.ref.WeakReference<>(first);
    first.close();
    first = null;
    for (int i = 0; i < 200 && unloaded.get() != null; i++) {
      System.gc();
      Thread.sleep(50);
    }
    check(unloaded.get() == null, "the class loader was not unloaded");
    use(second);
    URLClassLoader third = classLoader();
    use(third);
    golden();
  }

  private static URLClassLoader classLoader() throws Exception {
    List<URL> urls = new ArrayList<>();
    for (String entry : ChildJvm.classPath().split(java.io.File.pathSeparator)) {
      urls.add(Path.of(entry).toUri().toURL());
    }
    return new URLClassLoader(urls.toArray(URL[]::new), ClassLoader.getPlatformClassLoader());
  }

  /** On a thread of its own, since libraries keep buffers of their classes with a thread. */
  private static void use(ClassLoader loader) throws Exception {
    onShortThread(
        () -> loader.loadClass(Survival.class.getName()).getMethod("golden").invoke(null));
  }

  /** Each thread calls something else, on one of two models. */
  private static void tenThousandThreads() throws Exception {
    Path cache = Files.createTempDirectory("hub");
    try (CandleModel one = Golden.load("llama-gqa");
        CandleModel two = Golden.load("qwen3-plain")) {
      // Compiled code, and the memory that the allocator keeps.
      threads(one, two, cache, 10_000);
      long memory = Resident.bytes();
      long threads = count("task");
      long files = count("fd");
      threads(one, two, cache, 10_000);
      long growth = Resident.bytes() - memory;
      check(growth < 32L << 20, "memory grew by " + growth + " from " + memory);
      check(count("task") <= threads + 4, count("task") + " threads, " + threads + " before");
      check(count("fd") <= files + 4, count("fd") + " files, " + files + " before");
    } finally {
      Files.deleteIfExists(cache);
    }
  }

  private static void threads(CandleModel one, CandleModel two, Path cache, int count)
      throws Exception {
    Throwable[] thrown = new Throwable[1];
    List<Thread> running = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      boolean first = i / 16 % 2 == 0;
      String name = first ? "llama-gqa" : "qwen3-plain";
      CandleModel model = first ? one : two;
      int kind = i % 16;
      Thread thread =
          new Thread(() -> {
            try {
              call(kind, model, name, cache);
            } catch (Throwable t) {
              thrown[0] = t;
            }
          });
      thread.start();
      running.add(thread);
      if (running.size() == 8) {
        for (Thread r : running) {
          r.join();
        }
        running.clear();
      }
    }
    for (Thread r : running) {
      r.join();
    }
    if (thrown[0] != null) {
      throw new AssertionError(thrown[0].toString(), thrown[0]);
    }
  }

  private static void call(int kind, CandleModel model, String name, Path cache) throws Exception {
    int[] prompt = Golden.prompt(name);
    try (CandleSession session = model.newSession()) {
      switch (kind) {
        case 0 -> golden(session, name);
        case 1 -> check(session.score(TokenIds.of(prompt), 2).top().size() == 2, "score");
        case 2 -> {
          try (TokenStream stream = session.stream(Golden.request(prompt, Golden.greedy(4)))) {
            check(stream.stream().count() == 4, "stream");
          }
        }
        case 3 -> {
          try (CandleSession fork = session.fork()) {
            golden(fork, name);
          }
        }
        case 4 ->
            check(session.submit(Golden.request("a b", Golden.greedy(2))).get() != null, "async");
        case 5 -> check(model.tokenizer().encode("some text").size() > 0, "encode");
        case 6 -> check(!model.tokenizer().decode(TokenIds.of(prompt)).isEmpty(), "decode");
        case 7 -> check(model.info().layers() > 0, "info");
        case 8 -> check(CandleRuntime.info().threads() > 0, "runtime");
        case 9 ->
            check(
                model.applyChatTemplate(List.of(ChatMessage.user("hi")), true).contains("hi"),
                "template");
        case 10 -> {
          List<BatchResult> results =
              model.generateAll(Golden.requests(List.of("a", "b"), Golden.greedy(2)));
          check(results.size() == 2, "batch");
        }
        case 11 -> {
          try (CandleHub hub = CandleHub.builder().cache(cache).offline(true).open()) {
            check(hub.list().isEmpty(), "hub");
            Survival.fails(() -> hub.fetch("no/such"), HubException.NotCached.class);
          }
        }
        case 12 -> {
          try (CandleModel loaded = Golden.load(name);
              CandleSession other = loaded.newSession()) {
            golden(other, name);
          }
        }
        case 13 -> {
          try (CandleTokenizer tokenizer =
              CandleTokenizer.load(Golden.folder(name).resolve("tokenizer.json"))) {
            check(tokenizer.count("some text") > 0, "tokenizer");
          }
        }
        case 14 -> {
          session.prepare(Golden.request("some text", GenerateOptions.defaults()));
          session.reset();
          golden(session, name);
        }
        default ->
            Survival.fails(
                () -> session.generate(Golden.request(new int[] {1 << 30}, Golden.greedy(1))),
                IllegalArgumentException.class);
      }
    }
  }

  private static long count(String folder) throws IOException {
    try (Stream<Path> entries = Files.list(Path.of("/proc/self", folder))) {
      return entries.count();
    }
  }
}
