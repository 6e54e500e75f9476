package io.candle4j.spark;

import io.candle4j.spark.ExecutorModels.Lease;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.Metadata;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;

/**
 * A column that a model fills. Partitions are streamed: a task holds a few rows at a time, and
 * works on several of them together, beside those of the other tasks of its executor. Each result
 * is a struct whose last field, {@code error}, says what was wrong with its row, and is null where
 * nothing was; a row that fails does not affect the others. What is wrong with the model itself
 * fails the task.
 *
 * <p>As with any column, Spark computes it again for each action on the dataset; write or persist
 * the result before it is used twice.
 */
public abstract sealed class ModelColumn permits GenerateColumn, EmbedColumn, RerankColumn {
  private static final String ROW = "row";

  private final String name;
  private final int parallel;
  private final List<InputColumn> inputs;

  ModelColumn(Builder<?> builder, List<InputColumn> inputs) {
    this.name = builder.name;
    this.parallel = builder.parallel;
    this.inputs = inputs;
  }

  abstract RowWork<?> work();

  /**
   * Adds the column.
   *
   * @param dataset the rows
   * @return the rows with the column behind the others, in the same partitions and the same order
   * @throws IllegalArgumentException when the dataset has a column of its name, or an input of
   *     another type than expected
   */
  public final Dataset<Row> addTo(Dataset<Row> dataset) {
    StructType schema = dataset.schema();
    boolean isCaseSensitive =
        Boolean.parseBoolean(dataset.sparkSession().conf().get("spark.sql.caseSensitive", "false"));
    if (Arrays.stream(schema.fieldNames())
        .anyMatch(isCaseSensitive ? name::equals : name::equalsIgnoreCase)) {
      throw new IllegalArgumentException(
          "name: the dataset has a column " + name + " already; expected another name");
    }
    Column[] selected = new Column[inputs.size() + 1];
    selected[0] = functions.struct(functions.col("*")).as(ROW);
    for (int i = 0; i < inputs.size(); i++) {
      selected[i + 1] = inputs.get(i).expression().as(inputs.get(i).name());
    }
    Dataset<Row> input = dataset.select(selected);
    for (int i = 0; i < inputs.size(); i++) {
      inputs.get(i).check(input.schema().fields()[i + 1].dataType());
    }
    RowWork<?> work = work();
    StructType result = schema.add(new StructField(name, work.type(), false, Metadata.empty()));
    return input.mapPartitions(partitions(work, parallel), Encoders.row(result));
  }

  /** Static, so that nothing but the work is sent to executors. */
  private static <M extends AutoCloseable> MapPartitionsFunction<Row, Row> partitions(
      RowWork<M> work, int parallel) {
    return rows -> partition(work, parallel, rows);
  }

  private static <M extends AutoCloseable> Iterator<Row> partition(
      RowWork<M> work, int parallel, Iterator<Row> rows) {
    if (!rows.hasNext()) {
      return rows;
    }
    TaskContext task = TaskContext.get();
    Lease<M> lease = work.use();
    RowsInFlight<Row, Row> results =
        new RowsInFlight<>(
            rows,
            row ->
                work.result(lease.model(), inputs(row))
                    .thenApply(result -> append(row.getStruct(0), result)),
            parallel,
            task);
    task.addTaskCompletionListener(ended -> {
      results.close();
      lease.close();
    });
    return results;
  }

  private static Row inputs(Row row) {
    return RowFactory.create(IntStream.range(1, row.size()).mapToObj(row::get).toArray());
  }

  private static Row append(Row row, Row result) {
    @Nullable Object[] values = new @Nullable Object[row.size() + 1];
    for (int i = 0; i < row.size(); i++) {
      values[i] = row.get(i);
    }
    values[row.size()] = result;
    return RowFactory.create(values);
  }

  /**
   * Makes columns. Not for several threads.
   *
   * @param <B> the builder
   */
  public abstract static sealed class Builder<B extends Builder<B>>
      permits GenerateColumn.Builder, EmbedColumn.Builder, RerankColumn.Builder {
    private final String name;
    private int parallel;
    private SparkModel model;

    Builder(String name, String model, int parallel) {
      this.name = Objects.requireNonNull(name, "name");
      this.model = SparkModel.of(model);
      this.parallel = parallel;
    }

    abstract B self();

    final SparkModel model() {
      return model;
    }

    /**
     * Which model.
     *
     * @param source an alias, a Hub id, or a path that exists on every node
     * @return this
     */
    public final B model(String source) {
      return model(SparkModel.of(source));
    }

    /**
     * Which model.
     *
     * @param model the model
     * @return this
     */
    public final B model(SparkModel model) {
      this.model = Objects.requireNonNull(model, "model");
      return self();
    }

    /**
     * How many rows a task works on at a time.
     *
     * @param parallel from 1 to 1024
     * @return this
     * @throws IllegalArgumentException for any other
     */
    public final B parallel(int parallel) {
      if (parallel < 1 || parallel > 1024) {
        throw new IllegalArgumentException("parallel: expected 1 to 1024, got " + parallel);
      }
      this.parallel = parallel;
      return self();
    }
  }
}
