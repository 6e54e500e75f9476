package io.candle4j;

import java.nio.file.Path;

/** The main class of a child JVM: asks for F16, and prints what it got. */
public final class PrecisionProbe {
  private PrecisionProbe() {}

  /**
   * Runs.
   *
   * @param args the folder of the checkpoint
   */
  public static void main(String[] args) {
    try (CandleModel model =
        CandleModel.builder().path(Path.of(args[0])).precision(Precision.F16).load()) {
      System.out.println(model.info().precision());
    }
  }
}
