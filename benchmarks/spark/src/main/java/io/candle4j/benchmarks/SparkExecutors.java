package io.candle4j.benchmarks;

import io.candle4j.GenerateOptions;
import io.candle4j.spark.EmbedColumn;
import io.candle4j.spark.GenerateColumn;
import io.candle4j.spark.ModelColumn;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;

/**
 * Rows a second of one and of two executors, each in a process of its own: with one core each, as
 * nodes of a cluster would be added, and one executor with two cores, as a node would be divided.
 *
 * <p>Arguments: the model, and how often each is measured.
 */
public final class SparkExecutors {
  private static final int PROMPTS = 64;
  private static final int TEXTS = 1_024;
  private static final int TASKS = 8;
  private static final GenerateOptions OPTIONS =
      GenerateOptions.greedy().toBuilder().ignoreEos(true).maxTokens(32).build();

  /** Executors, and the cores of each. */
  private record Shape(int executors, int cores) {}

  private SparkExecutors() {}

  /**
   * Measures.
   *
   * @param arguments the model, and the rounds
   */
  public static void main(String[] arguments) {
    String model = arguments[0];
    int rounds = Integer.parseInt(arguments[1]);
    System.out.println("executors x cores   answers/s   vectors/s   (medians of " + rounds + ")");
    for (Shape shape : List.of(new Shape(1, 1), new Shape(2, 1), new Shape(1, 2))) {
      try (SparkSession spark = cluster(shape)) {
        double answers =
            rate(spark, PROMPTS, rounds, GenerateColumn.builder("result")
                .model(model)
                .prompt(functions.concat(
                    functions.lit("Write a story about the number "), functions.col("id")))
                .options(OPTIONS)
                .build());
        double vectors =
            rate(spark, TEXTS, rounds, EmbedColumn.builder("result")
                .text(functions.concat(
                    functions.lit("The story tells of a hen that counted to "),
                    functions.col("id"),
                    functions.lit(" before the sun rose over the hills.")))
                .build());
        System.out.printf(
            "%d x %d %25.2f %11.1f%n", shape.executors(), shape.cores(), answers, vectors);
      }
    }
  }

  private static SparkSession cluster(Shape shape) {
    return SparkSession.builder()
        .master("local-cluster[%d,%d,2048]".formatted(shape.executors(), shape.cores()))
        .config("spark.ui.enabled", false)
        .config("spark.executor.cores", shape.cores())
        .config("spark.executor.memory", "1g")
        .config("spark.executor.extraClassPath", System.getProperty("java.class.path"))
        .config("spark.executor.extraJavaOptions", "--enable-native-access=ALL-UNNAMED")
        .getOrCreate();
  }

  private static double rate(SparkSession spark, int rows, int rounds, ModelColumn column) {
    Dataset<Row> results = column.addTo(spark.range(0, rows, 1, TASKS).toDF());
    check(results, rows); // Loads the model in each executor.
    List<Double> seconds = new ArrayList<>();
    for (int round = 0; round < rounds; round++) {
      long start = System.nanoTime();
      check(results, rows);
      seconds.add((System.nanoTime() - start) / 1e9);
    }
    double[] sorted = seconds.stream().mapToDouble(Double::doubleValue).sorted().toArray();
    return rows / sorted[sorted.length / 2];
  }

  private static void check(Dataset<Row> results, int rows) {
    long good = results.filter("result.error IS NULL").count();
    if (good != rows) {
      throw new IllegalStateException(
          good + " of " + rows + ": " + Arrays.toString((Object[]) results.take(1)));
    }
  }
}
