package io.candle4j.spark;

import io.candle4j.spark.InputColumn.Type;
import java.util.List;
import java.util.Objects;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.functions;
import org.jspecify.annotations.Nullable;

/**
 * A column of scores: how well documents fit a query. Each is a struct of {@code scores} (an array
 * of doubles, one a document, in the order of the documents), {@code left_out} (how many tokens of
 * each did not fit) and {@code error}.
 *
 * {@snippet :
 * Dataset<Row> scored =
 *     RerankColumn.builder("fit", "BAAI/bge-reranker-base")
 *         .query("question")
 *         .documents("passages")
 *         .build()
 *         .addTo(candidates);
 * }
 */
public final class RerankColumn extends ModelColumn {
  private final RerankRows work;

  private RerankColumn(Builder builder, Column query, Column documents) {
    super(
        builder,
        List.of(
            new InputColumn("query", query, List.of(Type.TEXT)),
            new InputColumn("documents", documents, List.of(Type.TEXT, Type.TEXTS))));
    this.work = builder.work();
  }

  /**
   * Starts a column.
   *
   * @param name the column's name
   * @param model the model, as {@link ModelColumn.Builder#model(String)} takes it; there is no
   *     built-in one
   * @return a builder
   */
  public static Builder builder(String name, String model) {
    return new Builder(name, model);
  }

  @Override
  RowWork<?> work() {
    return work;
  }

  /** Makes columns. Not for several threads. */
  public static final class Builder extends ModelColumn.Builder<Builder> {
    private @Nullable Column query;
    private @Nullable Column documents;

    private Builder(String name, String model) {
      super(name, model, 16);
    }

    @Override
    Builder self() {
      return this;
    }

    /**
     * Which column has queries.
     *
     * @param column the name of a column of texts
     * @return this
     */
    public Builder query(String column) {
      return query(functions.col(column));
    }

    /**
     * What is looked for. A row whose query is null gets an error.
     *
     * @param query an expression for a text
     * @return this
     */
    public Builder query(Column query) {
      this.query = Objects.requireNonNull(query, "query");
      return this;
    }

    /**
     * Which column has documents.
     *
     * @param column the name of a column of texts, or of arrays of them
     * @return this
     */
    public Builder documents(String column) {
      return documents(functions.col(column));
    }

    /**
     * Where it is looked for. A row that has null there, or null among its documents, gets an
     * error.
     *
     * @param documents an expression for a text, or an array of texts
     * @return this
     */
    public Builder documents(Column documents) {
      this.documents = Objects.requireNonNull(documents, "documents");
      return this;
    }

    RerankRows work() {
      return new RerankRows(model());
    }

    /**
     * Makes the column.
     *
     * @return the column
     * @throws IllegalStateException when there is no query or no document
     */
    public RerankColumn build() {
      if (query == null || documents == null) {
        throw new IllegalStateException(
            (query == null ? "query" : "documents") + ": expected a column");
      }
      return new RerankColumn(this, query, documents);
    }
  }
}
