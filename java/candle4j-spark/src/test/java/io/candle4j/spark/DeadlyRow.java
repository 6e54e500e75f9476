package io.candle4j.spark;

import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.spark.SparkEnv;
import org.apache.spark.api.java.function.MapFunction;
import org.apache.spark.sql.Row;

/**
 * Hands rows on; the executor that takes a certain one first dies of it.
 *
 * @param id the row's
 * @param marker a file that is there when it happened
 * @param executors a folder with a file for each executor that took a row
 */
record DeadlyRow(long id, String marker, String executors) implements MapFunction<Row, Row> {
  @Override
  public Row call(Row row) throws Exception {
    Files.writeString(Path.of(executors, SparkEnv.get().executorId()), "");
    if (row.getLong(0) == id && Path.of(marker).toFile().createNewFile()) {
      Runtime.getRuntime().halt(1);
    }
    return row;
  }
}
