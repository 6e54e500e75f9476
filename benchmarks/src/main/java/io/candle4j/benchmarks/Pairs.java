package io.candle4j.benchmarks;

import java.util.Arrays;
import java.util.Locale;

/**
 * What Java costs: each piece of work through Java and without it, in turn, so that both sides see
 * the same machine even when its speed drifts. Prints the medians and the median of the quotients.
 *
 * <p>Usage: {@code Pairs MODEL_FOLDER [ROUNDS]}
 */
public final class Pairs {
  private Pairs() {}

  /**
   * Runs all pairs.
   *
   * @param args the model's folder, and how many rounds (20 when left out)
   */
  public static void main(String[] args) {
    int rounds = args.length > 1 ? Integer.parseInt(args[1]) : 20;
    GenerateBenchmark benchmark = new GenerateBenchmark();
    benchmark.model = args[0];
    benchmark.setup();
    try {
      System.out.println("| work | Java ms | Rust ms | Rust / Java |");
      System.out.println("|---|---:|---:|---:|");
      pair("prefill 256", rounds, benchmark::prefillJava, benchmark::prefillRust);
      Medians decode = pair("decode 64", rounds, benchmark::decodeJava, benchmark::decodeRust);
      pair("4 × decode 64", rounds, benchmark::parallelJava, benchmark::parallelRust);
      pair("load", rounds, benchmark::loadJava, benchmark::loadRust);
      Medians text = measure(rounds, benchmark::tokenJava, benchmark::tokenRust);
      System.out.printf(
          Locale.ROOT,
          "%nListener, text and border together: %.1f µs a token (%.3f ms with, %.3f ms without)%n",
          (text.java - text.rust) / GenerateBenchmark.MANY * 1e3,
          text.java,
          text.rust);
      if (decode.quotient < 0.98) {
        System.out.println("Decoding through Java is below 0.98 of decoding in Rust.");
      }
    } finally {
      benchmark.tearDown();
    }
  }

  private record Medians(double java, double rust, double quotient) {}

  private static Medians pair(String name, int rounds, Runnable java, Runnable rust) {
    Medians medians = measure(rounds, java, rust);
    System.out.printf(
        Locale.ROOT,
        "| %s | %.2f | %.2f | %.3f |%n",
        name,
        medians.java,
        medians.rust,
        medians.quotient);
    return medians;
  }

  private static Medians measure(int rounds, Runnable java, Runnable rust) {
    double[] javaTimes = new double[rounds];
    double[] rustTimes = new double[rounds];
    double[] quotients = new double[rounds];
    for (int warmUp = 0; warmUp < 3; warmUp++) {
      java.run();
      rust.run();
    }
    for (int round = 0; round < rounds; round++) {
      // Whoever comes second may find the caches warmer, so they take turns.
      if (round % 2 == 0) {
        javaTimes[round] = time(java);
        rustTimes[round] = time(rust);
      } else {
        rustTimes[round] = time(rust);
        javaTimes[round] = time(java);
      }
      quotients[round] = rustTimes[round] / javaTimes[round];
    }
    return new Medians(median(javaTimes), median(rustTimes), median(quotients));
  }

  private static double time(Runnable work) {
    long start = System.nanoTime();
    work.run();
    return (System.nanoTime() - start) / 1e6;
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }
}
