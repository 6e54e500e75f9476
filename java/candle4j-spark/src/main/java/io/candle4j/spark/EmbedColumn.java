package io.candle4j.spark;

import io.candle4j.CandleEmbedder;
import io.candle4j.EmbedOptions;
import io.candle4j.spark.InputColumn.Type;
import java.util.List;
import java.util.Objects;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.functions;
import org.jspecify.annotations.Nullable;

/**
 * A column of vectors. Each is a struct of {@code vector} (an array of floats), {@code tokens},
 * {@code left_out} (tokens of a text that is too long) and {@code error}.
 *
 * {@snippet :
 * Dataset<Row> vectors =
 *     EmbedColumn.builder("embedding").model("BAAI/bge-small-en-v1.5").text("title").build().addTo(books);
 * }
 */
public final class EmbedColumn extends ModelColumn {
  private final EmbedRows work;

  private EmbedColumn(Builder builder, Column text) {
    super(builder, List.of(new InputColumn("text", text, List.of(Type.TEXT))));
    this.work = builder.work();
  }

  /**
   * Starts a column.
   *
   * @param name the column's name
   * @return a builder, of the built-in model
   */
  public static Builder builder(String name) {
    return new Builder(name);
  }

  @Override
  RowWork<?> work() {
    return work;
  }

  /** Makes columns. Not for several threads. */
  public static final class Builder extends ModelColumn.Builder<Builder> {
    private @Nullable Column text;
    private EmbedOptions options = EmbedOptions.defaults();

    private Builder(String name) {
      super(name, CandleEmbedder.BUILT_IN, 32);
    }

    @Override
    Builder self() {
      return this;
    }

    /**
     * Which column gets vectors.
     *
     * @param column the name of a column of texts
     * @return this
     */
    public Builder text(String column) {
      return text(functions.col(column));
    }

    /**
     * What gets vectors. A row whose text is null gets an error.
     *
     * @param text an expression for a text
     * @return this
     */
    public Builder text(Column text) {
      this.text = Objects.requireNonNull(text, "text");
      return this;
    }

    /**
     * How texts become vectors.
     *
     * @param options the options, such as {@link EmbedOptions#query()}
     * @return this
     */
    public Builder options(EmbedOptions options) {
      this.options = Objects.requireNonNull(options, "options");
      return this;
    }

    EmbedRows work() {
      return new EmbedRows(model(), options);
    }

    /**
     * Makes the column.
     *
     * @return the column
     * @throws IllegalStateException when there is no text
     */
    public EmbedColumn build() {
      if (text == null) {
        throw new IllegalStateException("text: expected a column");
      }
      return new EmbedColumn(this, text);
    }
  }
}
