package io.candle4j;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/**
 * Prints how many threads the native library says it computes with, and how many it has started.
 */
final class ThreadsProbe {
  private ThreadsProbe() {}

  /**
   * Runs in a JVM of its own, since threads stay once they were started.
   *
   * @param args the model's folder, and the number of threads to set; without that the default
   */
  public static void main(String[] args) throws IOException {
    if (args.length > 1) {
      CandleRuntime.setThreads(Integer.parseInt(args[1]));
    }
    try (CandleModel model = CandleModel.load(args[0]);
        CandleSession session = model.newSession()) {
      session.generate(Golden.request(new int[] {1, 2, 3}, Golden.greedy(4)));
    }
    System.out.println(
        CandleRuntime.info().threads()
            + " "
            + (1 + count("candle4j-team"))
            + " "
            + count("candle-bp"));
  }

  private static long count(String name) throws IOException {
    try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
      return tasks.filter(task -> comm(task).startsWith(name)).count();
    }
  }

  private static String comm(Path task) {
    try {
      return Files.readString(task.resolve("comm"));
    } catch (IOException e) {
      return "";
    }
  }
}
