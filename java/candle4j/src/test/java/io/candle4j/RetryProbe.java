package io.candle4j;

import java.nio.file.Path;

/** The main class of child JVMs: loading the library fails twice, and succeeds by another path. */
public final class RetryProbe {
  private RetryProbe() {}

  /**
   * Runs.
   *
   * @param args a library that cannot be loaded, one that can or "none", and a checkpoint
   */
  public static void main(String[] args) {
    System.setProperty("candle4j.library", args[0]);
    for (int i = 0; i < 2; i++) {
      try {
        CandleModel.builder().path(Path.of(args[2])).load().close();
        throw new AssertionError("loaded");
      } catch (NativeLibraryException e) {
        System.out.println(e.getMessage() + " | " + (e.getCause() != null));
      }
    }
    if (args[1].equals("none")) {
      return;
    }
    System.setProperty("candle4j.library", args[1]);
    try (CandleModel model = CandleModel.builder().path(Path.of(args[2])).load();
        CandleSession session = model.newSession()) {
      int[] prompt = {1, 2, 3};
      System.out.println(session.generate(Golden.request(prompt, Golden.greedy(8))).tokenIds());
    }
  }
}
