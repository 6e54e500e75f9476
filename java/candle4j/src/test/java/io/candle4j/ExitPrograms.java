package io.candle4j;

import io.candle4j.Survival.Case;
import java.util.List;
import java.util.concurrent.CountDownLatch;

/** A JVM that ends while the library is at work. */
final class ExitPrograms {
  private static final int STATUS = 7;

  static final List<Case> CASES =
      List.of(
          new Case(
              "exitWhileGenerating", STATUS, List.of(), () -> exit(ExitPrograms::generate, false)),
          new Case(
              "exitInsideAListener", STATUS, List.of(), () -> exit(ExitPrograms::generate, true)),
          new Case("exitWhileLoading", STATUS, List.of(), () -> exit(ExitPrograms::load, false)),
          new Case("theEndOfMainAmidDaemonWork", ExitPrograms::endOfMain));

  private ExitPrograms() {}

  private interface Work {
    void run(CandleModel model, Runnable started);
  }

  private static void exit(Work work, boolean inside) throws Exception {
    Survival.golden();
    CandleModel model = Golden.load(Survival.MODEL);
    CountDownLatch started = new CountDownLatch(4);
    for (int i = 0; i < 4; i++) {
      Thread thread =
          new Thread(() -> {
            while (true) {
              work.run(
                  model,
                  () -> {
                    started.countDown();
                    if (inside) {
                      System.exit(STATUS);
                    }
                  });
            }
          });
      thread.setDaemon(true);
      thread.start();
    }
    started.await();
    System.exit(STATUS);
  }

  private static void generate(CandleModel model, Runnable started) {
    try (CandleSession session = model.newSession()) {
      session.generate(
          Golden.request(Golden.prompt(Survival.MODEL), Golden.greedy(100)),
          token -> started.run());
    }
  }

  private static void load(CandleModel model, Runnable started) {
    started.run();
    Golden.load(Survival.MODEL).close();
  }

  /** Main returns, after the golden answer, while threads that nobody waits for go on. */
  private static void endOfMain() throws Exception {
    CandleModel model = Golden.load(Survival.MODEL);
    CountDownLatch started = new CountDownLatch(2);
    for (int i = 0; i < 2; i++) {
      Thread thread =
          new Thread(() -> {
            while (true) {
              generate(model, started::countDown);
            }
          });
      thread.setDaemon(true);
      thread.start();
    }
    started.await();
  }
}
