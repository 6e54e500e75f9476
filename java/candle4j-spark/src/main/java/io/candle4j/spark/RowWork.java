package io.candle4j.spark;

import io.candle4j.spark.ExecutorModels.Lease;
import java.io.Serializable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;

/**
 * What a model does for each row, in the executors.
 *
 * @param <M> the model
 */
abstract class RowWork<M extends AutoCloseable> implements Serializable {
  private static final long serialVersionUID = 1L;

  /** The last field of each result: what went wrong with the row, or null. */
  private static final String ERROR = "error";

  private final SparkModel model;

  RowWork(SparkModel model) {
    this.model = model;
  }

  /** The fields of a result, without the error. */
  abstract StructType fields();

  /** Loads the model from where it is in this executor. */
  abstract M load(SparkModel model);

  /**
   * Starts a row's work.
   *
   * @param inputs what the columns of {@link InputColumn} have in the row, by their places
   * @return the values of {@link #fields}; completing it in another way stops the work
   * @throws IllegalArgumentException for inputs that cannot be worked on
   */
  abstract CompletableFuture<Object[]> start(M model, Row inputs);

  /** What went wrong with a row, where the model's exception says it in its cause. */
  Throwable cause(Throwable failure) {
    return failure;
  }

  /** The type of a result. */
  final StructType type() {
    return fields().add(ERROR, DataTypes.StringType, true);
  }

  /** The model in this executor, to be given back. */
  final Lease<M> use() {
    return ExecutorModels.use(
        new Key(getClass(), model, model.location()),
        () -> {
          ExecutorThreads.set();
          return load(model);
        });
  }

  /** With the location: a shipped model of the same name may be another one in another context. */
  private record Key(Class<?> work, SparkModel model, String location) {}

  /**
   * Starts a row's work, whose failure becomes a result with an error.
   *
   * @return the result; it fails only where the work was stopped, or the executor is broken
   */
  final CompletableFuture<Row> result(M model, Row inputs) {
    CompletableFuture<Object[]> values;
    try {
      values = start(model, inputs);
    } catch (RuntimeException e) {
      return CompletableFuture.completedFuture(result(null, e));
    }
    return values.handle(this::result);
  }

  private Row result(Object @Nullable [] values, @Nullable Throwable failure) {
    int fields = fields().size();
    Object[] result = new Object[fields + 1];
    if (failure == null && values != null) {
      System.arraycopy(values, 0, result, 0, fields);
    } else if (failure != null) {
      result[fields] = message(failure);
    }
    return RowFactory.create(result);
  }

  private String message(Throwable failure) {
    Throwable cause =
        cause(
            failure instanceof CompletionException && failure.getCause() != null
                ? failure.getCause()
                : failure);
    if (cause instanceof Error broken) {
      throw broken;
    }
    if (cause instanceof CancellationException stopped) {
      throw stopped;
    }
    return cause.getMessage() == null ? cause.toString() : cause.getMessage();
  }

  /** A text of the inputs. */
  static String text(Row inputs, int place, String name) {
    Object value = inputs.get(place);
    if (value instanceof String text) {
      return text;
    }
    throw new IllegalArgumentException(
        name + ": expected a text, got " + (value == null ? "null" : value.getClass().getName()));
  }
}
