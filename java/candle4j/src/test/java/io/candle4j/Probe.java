package io.candle4j;

import java.nio.file.Path;

/** The main class of child JVMs: loads a golden checkpoint, and prints its greedy tokens. */
public final class Probe {
  private Probe() {}

  /**
   * Runs.
   *
   * @param args the folder of the checkpoint; with a second one, the library is used before
   */
  public static void main(String[] args) {
    if (args.length > 1) {
      // A library that cannot be loaded is said the second time as well.
      try {
        CandleRuntime.info();
      } catch (NativeLibraryException expected) {
        // The run below says it again.
      }
    }
    try (CandleModel model = CandleModel.builder().path(Path.of(args[0])).load();
        CandleSession session = model.newSession()) {
      int[] prompt = {1, 2, 3};
      System.out.println(session.generate(Golden.request(prompt, Golden.greedy(8))).tokenIds());
      System.out.println(CandleRuntime.info().library());
    } catch (NativeLibraryException e) {
      System.out.println(e.getMessage());
      System.exit(3);
    }
  }
}
