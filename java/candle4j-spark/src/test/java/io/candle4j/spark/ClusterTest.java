package io.candle4j.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.candle4j.BatchResult;
import io.candle4j.CandleModel;
import io.candle4j.GenerateOptions;
import io.candle4j.Request;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Executors in processes of their own. */
@Timeout(300)
class ClusterTest {
  private static final int ROWS = 2_000;
  private static final int POISONED = 1_234;
  private static final long DEADLY = 700;
  private static final String MODEL =
      Path.of(System.getProperty("candle4j.test.models"), "qwen3-plain").toString();
  private static final GenerateOptions OPTIONS =
      GenerateOptions.builder().temperature(1).maxTokens(8).build();

  private static final StructType SCHEMA =
      new StructType().add("id", DataTypes.LongType).add("prompt", DataTypes.StringType);

  private static SparkSession cluster() throws Exception {
    // Where a distribution of Spark has its jars; here executors get the class path of this test.
    Files.createDirectories(Path.of(System.getenv("SPARK_HOME"), "jars"));
    return SparkSession.builder()
        .master("local-cluster[2,1,1024]")
        .config("spark.ui.enabled", false)
        .config("spark.executor.extraClassPath", System.getProperty("java.class.path"))
        .config(
            "spark.executor.extraJavaOptions",
            "--enable-native-access=ALL-UNNAMED -Dcandle4j.cache="
                + System.getProperty("candle4j.cache"))
        .config("spark.executor.cores", 1)
        .getOrCreate();
  }

  private static String prompt(int row) {
    return row == POISONED ? "too long ".repeat(2_000) : "Row " + row + " says";
  }

  @Test
  void anExecutorThatDiesLosesAndChangesNoAnswer(@TempDir Path folder) throws Exception {
    List<Row> prompts = new ArrayList<>();
    List<Request> requests = new ArrayList<>();
    for (int row = 0; row < ROWS; row++) {
      prompts.add(RowFactory.create((long) row, prompt(row)));
    }
    Path marker = folder.resolve("killed");
    Path executors = Files.createDirectory(folder.resolve("executors"));
    List<Row> answers;
    try (SparkSession spark = cluster()) {
      Dataset<Row> rows =
          spark
              .createDataFrame(prompts, SCHEMA)
              .repartition(4)
              .map(
                  new DeadlyRow(DEADLY, marker.toString(), executors.toString()),
                  Encoders.row(SCHEMA));
      answers =
          GenerateColumn.builder("answer")
              .model(MODEL)
              .prompt("prompt")
              .options(OPTIONS)
              .build()
              .addTo(rows)
              .orderBy("id")
              .collectAsList();
    }
    assertTrue(Files.exists(marker), "no executor was killed");
    try (var names = Files.list(executors)) {
      assertTrue(names.count() >= 2, "one executor did all");
    }
    assertEquals(ROWS, answers.size());
    for (Row row : answers) {
      long seed = row.getLong(0) == POISONED ? 0 : row.getStruct(2).<Long>getAs("seed");
      requests.add(Request.of(row.getString(1), OPTIONS.toBuilder().seed(seed).build()));
    }
    try (CandleModel model = CandleModel.load(MODEL)) {
      List<BatchResult> expected = model.generateAll(requests);
      for (int row = 0; row < ROWS; row++) {
        Row answer = answers.get(row).getStruct(2);
        switch (expected.get(row)) {
          case BatchResult.Completed(var generation) -> {
            assertNull(answer.getAs("error"));
            assertEquals(generation.text(), answer.getAs("text"));
          }
          case BatchResult.Failed(var cause) -> {
            assertEquals(POISONED, row);
            assertEquals(cause.getMessage(), answer.getAs("error"));
          }
        }
      }
    }
  }
}
