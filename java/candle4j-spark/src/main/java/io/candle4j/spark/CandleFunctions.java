package io.candle4j.spark;

import io.candle4j.spark.ExecutorModels.Lease;
import java.util.List;
import org.apache.spark.TaskContext;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.api.java.UDF1;
import org.apache.spark.sql.api.java.UDF2;
import org.apache.spark.sql.expressions.UserDefinedFunction;
import org.apache.spark.sql.functions;

/**
 * SQL functions that models fill, for a session of Spark. They give the structs of {@link
 * GenerateColumn}, {@link EmbedColumn} and {@link RerankColumn}, with an error in them for a row
 * that fails:
 *
 * <ul>
 *   <li>{@code candle_generate(prompt)}
 *   <li>{@code candle_generate_seeded(prompt, seed)}, with a whole number as seed
 *   <li>{@code candle_embed(text)}
 *   <li>{@code candle_rerank(query, documents)}, with one document or an array of them
 * </ul>
 *
 * {@snippet :
 * CandleFunctions.register(spark);
 * spark.sql("SELECT id, candle_generate(question).text FROM questions").show();
 * }
 *
 * <p>Spark calls a function for one row of a task after the other, so rows are worked on together
 * only with those of the other tasks of an executor; the columns take several rows of a task
 * together. Spark takes the functions for nondeterministic, so that it calls them once a row.
 */
public final class CandleFunctions {
  private CandleFunctions() {}

  /**
   * Registers {@code candle_generate}, {@code candle_generate_seeded} and {@code candle_embed} with
   * the built-in models, whose jars must be in the executors.
   *
   * @param spark the session
   */
  public static void register(SparkSession spark) {
    registerGenerate(spark, GenerateColumn.builder("answer"));
    registerEmbed(spark, EmbedColumn.builder("embedding"));
  }

  /**
   * Registers {@code candle_generate} and {@code candle_generate_seeded}.
   *
   * @param spark the session
   * @param settings the model, and how it answers; the column's name, its inputs and {@code
   *     parallel} do not count
   */
  public static void registerGenerate(SparkSession spark, GenerateColumn.Builder settings) {
    register(spark, "candle_generate", one(settings.work()));
    register(spark, "candle_generate_seeded", two(settings.work()));
  }

  /**
   * Registers {@code candle_embed}.
   *
   * @param spark the session
   * @param settings the model, and how texts become vectors; the rest does not count
   */
  public static void registerEmbed(SparkSession spark, EmbedColumn.Builder settings) {
    register(spark, "candle_embed", one(settings.work()));
  }

  /**
   * Registers {@code candle_rerank}.
   *
   * @param spark the session
   * @param settings the model; the rest does not count
   */
  public static void registerRerank(SparkSession spark, RerankColumn.Builder settings) {
    register(spark, "candle_rerank", two(settings.work()));
  }

  private static void register(SparkSession spark, String name, UserDefinedFunction function) {
    spark.udf().register(name, function.asNondeterministic());
  }

  private static UserDefinedFunction one(RowWork<?> work) {
    UDF1<Object, Row> function = input -> result(work, RowFactory.create(input));
    return functions.udf(function, work.type());
  }

  private static UserDefinedFunction two(RowWork<?> work) {
    UDF2<Object, Object, Row> function =
        (first, second) -> result(work, RowFactory.create(first, second));
    return functions.udf(function, work.type());
  }

  private static <M extends AutoCloseable> Row result(RowWork<M> work, Row inputs) {
    try (Lease<M> lease = work.use();
        RowsInFlight<Row, Row> results =
            new RowsInFlight<>(
                List.of(inputs).iterator(),
                row -> work.result(lease.model(), row),
                1,
                TaskContext.get())) {
      return results.next();
    }
  }
}
